"""What is held out: whole groups, a data set's own test part, and always something normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import UsageError
from oddframe.training.config import CalibrationSection
from oddframe.training.data.splits import TrainingSplit, drop_groups, hold_out, validation_folds


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


def test_named_groups_and_none() -> None:
    found, _ = split(plain(4), groups=("g1", "g3"))
    assert found.held_out.groups == ("g1", "g3")
    assert_apart(found, plain(4))
    found, _ = split(plain(4), share=0)
    assert len(found.held_out) == 0
    with pytest.raises(UsageError, match=r"calibration.groups: made has no group g9"):
        split(plain(4), groups=("g9",))


def test_too_few_groups_are_said() -> None:
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


def test_a_group_on_both_sides_of_its_own_split_is_said() -> None:
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


def test_validation_folds_are_as_many_as_there_can_be() -> None:
    assert len(validation_folds(plain(9), 3, 0)) == 3
    assert len(validation_folds(plain(2), 3, 0)) == 2
    assert validation_folds(plain(1), 3, 0) == ()


def test_groups_can_be_left_out_of_everything() -> None:
    assert drop_groups(plain(3), ("g1",)).groups == ("g0", "g2")
    with pytest.raises(UsageError, match="leave_out: made has no group g7"):
        drop_groups(plain(3), ("g7",))
