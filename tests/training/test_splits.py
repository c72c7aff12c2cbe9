"""Splits: held-out groups, validation folds, and grouping by scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import UsageError
from oddframe.training.config import CalibrationSection
from oddframe.training.data.splits import (
    TrainingSplit,
    drop_groups,
    group_by_scene,
    hold_out,
    validation_folds,
)
from tests.training.precomputed import linear


def dataset(*rows: tuple[str, str, str]) -> Dataset:
    """Videos by (label, group, part)."""
    videos: list[Any] = [
        LabelledVideo(Path(f"{i}"), label != "normal", label, group, part=part)  # type: ignore[arg-type]
        for i, (label, group, part) in enumerate(rows)
    ]
    return Dataset("made", tuple(videos))


def plain(n: int) -> Dataset:
    return dataset(*((label, f"g{i}", "") for i in range(n) for label in ("normal", "fight")))


def split(data: Dataset, **section: Any) -> tuple[TrainingSplit, list[str]]:
    said: list[str] = []
    return hold_out(data, CalibrationSection(**section), 1, said.append), said


def assert_apart(found: TrainingSplit, data: Dataset) -> None:
    assert not set(found.training.groups) & set(found.held_out.groups)
    assert set(found.training.videos) | set(found.held_out.videos) == set(data.videos)


def test_a_share_of_whole_groups_is_held_out() -> None:
    found, said = split(plain(10))
    assert_apart(found, plain(10))
    assert len(found.held_out.groups) == 2
    assert found.held_out.abnormal.any()
    assert not found.held_out.abnormal.all()
    assert said == []


def test_named_groups_or_none_are_held_out() -> None:
    found, _ = split(plain(4), groups=("g1", "g3"))
    assert found.held_out.groups == ("g1", "g3")
    assert_apart(found, plain(4))
    found, _ = split(plain(4), share=0)
    assert len(found.held_out) == 0
    with pytest.raises(UsageError, match=r"calibration.groups: made has no group g9"):
        split(plain(4), groups=("g9",))


def test_too_few_groups_give_a_warning() -> None:
    found, said = split(plain(2))
    assert len(found.held_out) == 0
    assert "too few groups (2)" in said[0]


def test_normal_videos_alone_are_split_too() -> None:
    data = dataset(*(("normal", f"g{i}", "") for i in range(10)))
    found, said = split(data)
    assert_apart(found, data)
    assert len(found.held_out) == 2
    assert said == []


def test_the_data_sets_own_test_part_is_held_out() -> None:
    data = dataset(
        ("normal", "a", "train"),
        ("fight", "b", "train"),
        ("normal", "c", "test"),
        ("fight", "d", "test"),
    )
    found, said = split(data)
    assert found.training.groups == ("a", "b")
    assert found.held_out.groups == ("c", "d")
    assert said == []


def test_a_group_in_both_parts_of_a_published_split_gives_a_warning() -> None:
    data = dataset(
        ("normal", "a", "train"),
        ("fight", "b", "train"),
        ("normal", "b", "test"),
        ("fight", "d", "test"),
    )
    _, said = split(data)
    assert "1 groups are in both parts" in said[0]


def test_a_test_part_without_normal_videos_gets_some_to_set_the_threshold_on() -> None:
    rows = [("normal", f"n{i}", "train") for i in range(10)]
    data = dataset(*rows, ("odd", "x", "test"), ("odd", "y", "test"))
    found, said = split(data)
    assert_apart(found, data)
    assert not found.held_out.abnormal.all()
    assert {"x", "y"} <= set(found.held_out.groups)
    assert "no normal videos, so 2 training groups are held out as well" in said[0]


def test_validation_folds_are_as_many_as_possible() -> None:
    assert len(validation_folds(plain(9), 3, 0)) == 3
    assert len(validation_folds(plain(2), 3, 0)) == 2
    assert validation_folds(plain(1), 3, 0) == ()


def test_groups_can_be_left_out_of_everything() -> None:
    assert drop_groups(plain(3), ("g1",)).groups == ("g0", "g2")
    with pytest.raises(UsageError, match="leave_out: made has no group g7"):
        drop_groups(plain(3), ("g7",))


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


def test_videos_of_one_scene_are_grouped() -> None:
    grouped, line = group_by_scene(loose(40), shown(40, 10), linear())
    assert len(grouped.groups) == 10
    assert "no group is given for 40 videos" in line
    assert "they show 10 places" in line


@pytest.mark.parametrize("places", [1, 3])
def test_too_few_scenes_leave_each_video_in_its_own_group(places: int) -> None:
    data = loose(40)
    same, line = group_by_scene(data, shown(40, places), linear())
    assert same == data
    assert f"only {places} place{'s' if places > 1 else ''}, too few" in line
    assert "not of new ones" in line


def test_different_scenes_change_nothing_and_are_reported() -> None:
    data = loose(10)
    same, line = group_by_scene(data, shown(10, 10), linear())
    assert same == data
    assert "no two of them" in line


def test_known_groups_change_nothing() -> None:
    data = loose(40)
    assert group_by_scene(data, {}, linear()) == (data, "")
    chosen = linear(calibration={"groups": ["own/3"]})
    assert group_by_scene(data, shown(40, 10), chosen) == (data, "")
    given = Dataset(
        "given", tuple(LabelledVideo(v.path, v.abnormal, v.label, "g") for v in data.videos)
    )
    assert group_by_scene(given, shown(40, 10), linear()) == (given, "")
