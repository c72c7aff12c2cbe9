"""Without groups, videos of one place are held out together, if there are enough places."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.training.data.splits import group_by_scene
from tests.training.ready import linear


def loose(n: int) -> Dataset:
    """``n`` videos, every other one abnormal, of which nobody said where they are from."""
    return Dataset(
        "loose",
        tuple(
            LabelledVideo(
                Path(f"{i}.mp4"), i % 2 == 1, "fight", f"own/{i}", fallback_group=f"own/{i}"
            )
            for i in range(n)
        ),
    )


def shown(n: int, places: int) -> dict[Path, str]:
    """Runs of neighbours that show one place."""
    return {Path(f"{i}.mp4"): f"place {i * places // n}" for i in range(n)}


def test_those_of_one_place_stay_together() -> None:
    grouped, line = group_by_scene(loose(40), shown(40, 10), linear())
    assert len(grouped.groups) == 10
    assert "no group is given for 40 videos" in line
    assert "they show 10 places" in line


@pytest.mark.parametrize("places", [1, 3])
def test_too_few_places_leave_each_video_by_itself(places: int) -> None:
    data = loose(40)
    same, line = group_by_scene(data, shown(40, places), linear())
    assert same == data
    assert f"only {places} place{'s' if places > 1 else ''}, too few" in line
    assert "not of new ones" in line


def test_nothing_alike_is_said_and_changes_nothing() -> None:
    data = loose(10)
    same, line = group_by_scene(data, shown(10, 10), linear())
    assert same == data
    assert "no two of them" in line


def test_nothing_is_said_of_groups_that_are_known() -> None:
    data = loose(40)
    assert group_by_scene(data, {}, linear()) == (data, "")
    chosen = linear(calibration={"groups": ["own/3"]})
    assert group_by_scene(data, shown(40, 10), chosen) == (data, "")
    given = Dataset(
        "given", tuple(LabelledVideo(v.path, v.abnormal, v.label, "g") for v in data.videos)
    )
    assert group_by_scene(given, shown(40, 10), linear()) == (given, "")
