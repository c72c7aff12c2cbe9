"""A killed extraction goes on: what was made is not made again, and the result is the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.backbones.base import Eye
from oddframe.backbones.registry import load_backbone
from oddframe.features.extract import extract, spec_for
from oddframe.features.partial import Partial
from oddframe.video.preprocessing import Preprocessing
from oddframe.video.source import open_source

HOW = Preprocessing(
    resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full", "full_mirrored"), stride=4
)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 9])
def test_a_killed_extraction_goes_on_with_the_same_result(
    after: int, clip: Path, tmp_path: Path
) -> None:
    backbone = load_backbone("i3d", HOW)
    spec = spec_for(backbone, HOW)
    whole = extract(open_source(clip), spec, backbone).features
    calls = 0

    def counted(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal calls
        calls += 1
        return backbone.eyes[0].see(snippets)

    def killed(done: int, _: int | None) -> None:
        if done == after:
            raise KilledError

    watched = replace(backbone, eyes=(Eye(counted),))
    partial = Partial(tmp_path / "p", chunk=2)
    with pytest.raises(KilledError):
        extract(open_source(clip), spec, backbone, progress=killed, partial=partial)
    again = Partial(tmp_path / "p", chunk=2)
    made = extract(open_source(clip), spec, watched, partial=again).features
    assert calls == whole.timebase.n_snippets - after // 2 * 2
    np.testing.assert_array_equal(made.array, whole.array)
    again.discard()
    assert not (tmp_path / "p").exists()


def test_a_damaged_chunk_ends_what_is_taken_over(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, 1, 8)).astype(np.float32)
    first = Partial(tmp_path, chunk=2)
    first.load(1, 8)
    first.add(rows)
    np.testing.assert_array_equal(Partial(tmp_path, chunk=2).load(1, 8), rows)
    assert len(Partial(tmp_path, chunk=2).load(2, 8)) == 0, "another number of crops"
    middle = tmp_path / "000001.safetensors"
    middle.write_bytes(middle.read_bytes()[:40])
    np.testing.assert_array_equal(Partial(tmp_path, chunk=2).load(1, 8), rows[:2])
