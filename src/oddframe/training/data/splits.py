"""Split labelled videos: which are held out, and which validate settings and seeds.

Groups (recordings, cameras) are never divided. Videos without a group are grouped by scene.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe._utils.progress import MessageCallback, ignore_message
from oddframe.datasets.labelled import Dataset, Fold, grouped_folds
from oddframe.datasets.scene_grouping import assign_scene_groups
from oddframe.errors import UsageError
from oddframe.training.config import CalibrationSection, TrainConfig


@dataclass(frozen=True)
class TrainingSplit:
    """The two parts of a data set. They share groups only where the data set's own split does."""

    training: Dataset  # To train on and to search on.
    held_out: Dataset  # To set the threshold and measure on; may be empty.


def drop_groups(dataset: Dataset, groups: tuple[str, ...]) -> Dataset:
    """The data set without the videos of ``groups``; UsageError if one of them is not known."""
    _check_known(dataset, groups, "leave_out")
    return _split_at_groups(dataset, groups).training


def hold_out(
    dataset: Dataset, wanted: CalibrationSection, seed: int, warn: MessageCallback
) -> TrainingSplit:
    """Hold out some videos: named groups, the test part of the data set's own split, or a share.

    ``warn`` is called with what makes the metrics less reliable.
    """
    if wanted.groups:
        _check_known(dataset, wanted.groups, "calibration.groups")
        return _split_at_groups(dataset, wanted.groups)
    if wanted.share == 0:
        return TrainingSplit(dataset, _of_groups(dataset, set()))
    if any(video.part for video in dataset.videos):
        return _published_split(dataset, wanted.share, seed, warn)
    groups = _draw_groups(dataset, wanted.share, seed)
    if not groups:
        warn(
            f"{dataset.name}: too few groups ({len(dataset.groups)}) to hold some out: "
            "there are no figures, and the threshold is not set on unseen videos"
        )
    return _split_at_groups(dataset, groups)


def validation_folds(training: Dataset, folds: int, seed: int) -> tuple[Fold, ...]:
    """Folds of the training videos by whole groups, at most ``folds`` and as many as possible.

    Empty where there are too few groups for two folds with both classes.
    """
    for n in range(min(folds, len(training.groups)), 1, -1):
        try:
            return grouped_folds(training, n, seed)
        except UsageError:
            continue
    return ()


def _published_split(
    dataset: Dataset, share: float, seed: int, warn: MessageCallback
) -> TrainingSplit:
    training, held_out = dataset.select_part("train"), dataset.select_part("test")
    if both := sorted(set(training.groups) & set(held_out.groups)):
        warn(
            f"{dataset.name}: {len(both)} groups are in both parts of its own split ({both[0]} "
            "...): figures on the test part are too good"
        )
    if held_out.abnormal.all():  # There is nothing to set a threshold on.
        if groups := _draw_groups(training, share, seed):
            warn(
                f"{dataset.name}: its test part has no normal videos, so {len(groups)} training "
                "groups are held out as well, to set the threshold on"
            )
        inner = _split_at_groups(training, groups)
        more = held_out.videos + inner.held_out.videos
        return TrainingSplit(inner.training, replace(held_out, videos=more))
    return TrainingSplit(training, held_out)


def _draw_groups(dataset: Dataset, share: float, seed: int) -> set[str]:
    try:
        fold = grouped_folds(dataset, max(2, round(1 / share)), seed)[0]
    except UsageError:
        return set()
    return {dataset.videos[int(i)].group for i in fold.test}


def _split_at_groups(dataset: Dataset, held_out: Iterable[str]) -> TrainingSplit:
    others = set(dataset.groups).difference(held_out)
    return TrainingSplit(_of_groups(dataset, others), _of_groups(dataset, held_out))


def _of_groups(dataset: Dataset, groups: Iterable[str]) -> Dataset:
    return replace(dataset, videos=tuple(v for v in dataset.videos if v.group in groups))


def _check_known(dataset: Dataset, groups: tuple[str, ...], key: str) -> None:
    if unknown := sorted(set(groups) - set(dataset.groups)):
        raise UsageError(f"{key}: {dataset.name} has no group {unknown[0]}")


def group_by_scene(
    dataset: Dataset, scenes: Mapping[Path, str], config: TrainConfig
) -> tuple[Dataset, str]:
    """Group videos that have no group by scene; also a line that says so, or "".

    The data set stays as it is where the configuration names groups, or where there are too few
    scenes to hold one out. ``scenes`` has the scene of each video where it is known.
    """
    ungrouped = [v.path for v in dataset.videos if v.fallback_group and v.path in scenes]
    if not ungrouped or config.calibration.groups or config.leave_out:
        return dataset, ""
    without = f"no group is given for {len(ungrouped)} videos"
    n_scenes = len({scenes[path] for path in ungrouped})
    if n_scenes == len(ungrouped):
        return dataset, (
            f"{without}, and no two of them look as if they showed one place: each is a group of "
            "its own; if that is wrong, name the groups (docs/data.md)"
        )
    grouped = assign_scene_groups(dataset, scenes)
    if _count_held_out(dataset, config) and not _count_held_out(grouped, config):
        return dataset, (
            f"{without}, and by their backgrounds they show only {n_scenes} "
            f"place{'s' if n_scenes > 1 else ''}, too few to hold one out: each video is a group "
            "of its own, and figures are of these places, not of new ones"
        )
    return grouped, (
        f"{without}: by their backgrounds they show {n_scenes} places, and those of one place stay "
        "together"
    )


def _count_held_out(dataset: Dataset, config: TrainConfig) -> int:
    return len(hold_out(dataset, config.calibration, config.recipe.seed, ignore_message).held_out)
