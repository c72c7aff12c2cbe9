"""Parsing intervals as people write them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.datasets.read import parse_intervals
from oddframe.errors import InputError


@pytest.mark.parametrize(
    ("text", "intervals"),
    [
        ("", ()),
        (" ; ", ()),
        ("3.2-5.0; 7-9", ((3.2, 5), (7, 9))),
        ("7-9;3-5;", ((3, 5), (7, 9))),
        ("1:05 - 1:20", ((65, 80),)),
        ("1:00:00-1:00:01.5", ((3600, 3601.5),)),
        ("3 \u2013 5", ((3, 5),)),
    ],
)
def test_valid_intervals(text: str, intervals: tuple[tuple[float, float], ...]) -> None:
    assert parse_intervals(text) == intervals


@pytest.mark.parametrize("text", ["5", "a-b", "5-3", "3-3", "1-2, 3-4", "-1-2"])
def test_invalid_intervals(text: str) -> None:
    with pytest.raises(InputError, match="interval"):
        parse_intervals(text)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), min_size=1, max_size=8))
def test_joined_intervals_cover_the_same_seconds(pairs: list[tuple[int, int]]) -> None:
    found = parse_intervals("; ".join(f"{start}-{start + length}" for start, length in pairs))
    covered = {s for start, length in pairs for s in range(start, start + length)}
    assert {s for start, end in found for s in range(int(start), int(end))} == covered
    assert all(end < start for (_, end), (start, _) in pairwise(found))
