"""Which videos training never sees, and which it is judged by on the way.

Holds out videos of one place together where the data set gives no groups.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe.datasets.folds import Fold, grouped_folds
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.quality.scene_grouping import assign_scene_groups
from oddframe.errors import UsageError
from oddframe.training.config import CalibrationSection, TrainConfig


@dataclass(frozen=True)
class TrainingSplit:
    """Two sides of a data set; no group is on both unless the data set's own split has it so.

    Attributes:
        training: What is learned from, and searched on.
        held_out: What the threshold is set and the figures are measured on; empty: there is none.
    """

    training: Dataset
    held_out: Dataset


def drop_groups(dataset: Dataset, groups: tuple[str, ...]) -> Dataset:
    """The data set without the videos of ``groups``.

    Raises:
        UsageError: one of them is not there.
    """
    _check_known(dataset, groups, "leave_out")
    return _of_groups(dataset, set(dataset.groups) - set(groups))


def hold_out(
    dataset: Dataset, wanted: CalibrationSection, seed: int, warn: Callable[[str], None]
) -> TrainingSplit:
    """Keep some videos from training: named groups, the data set's own test part, or a share.

    Args:
        dataset: All videos.
        wanted: Which ones.
        seed: Of the share that is drawn.
        warn: Is told what is not as one would wish.

    Raises:
        UsageError: a group is not there.
    """
    if wanted.groups:
        _check_known(dataset, wanted.groups, "calibration.groups")
        return _split_at_groups(dataset, set(wanted.groups))
    if wanted.share == 0:
        return TrainingSplit(dataset, _of_groups(dataset, set()))
    if any(video.part for video in dataset.videos):
        return _published_split(dataset, wanted.share, seed, warn)
    groups = _draw_groups(dataset, wanted.share, seed)
    if not groups:
        warn(
            f"{dataset.name}: too few groups ({len(dataset.groups)}) to keep some from training: "
            "no figures, and nothing unseen to set the threshold on"
        )
    return _split_at_groups(dataset, groups)


def validation_folds(training: Dataset, folds: int, seed: int) -> tuple[Fold, ...]:
    """Folds of the training videos by whole groups, as many as there can be up to ``folds``.

    None where there are too few groups for two of them with both classes.
    """
    for n in range(min(folds, len(training.groups)), 1, -1):
        try:
            return grouped_folds(training, n, seed)
        except UsageError:
            continue
    return ()


def _published_split(
    dataset: Dataset, share: float, seed: int, warn: Callable[[str], None]
) -> TrainingSplit:
    training, held_out = dataset.select_part("train"), dataset.select_part("test")
    if both := sorted(set(training.groups) & set(held_out.groups)):
        warn(
            f"{dataset.name}: {len(both)} groups are in both parts of its own split ({both[0]} "
            "...): figures on the test part are too good"
        )
    if held_out.abnormal.all():  # Nothing there to set a threshold on.
        groups = _draw_groups(training, share, seed)
        if groups:
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


def _split_at_groups(dataset: Dataset, held_out: set[str]) -> TrainingSplit:
    others = set(dataset.groups) - held_out
    return TrainingSplit(_of_groups(dataset, others), _of_groups(dataset, held_out))


def _of_groups(dataset: Dataset, groups: set[str]) -> Dataset:
    return replace(dataset, videos=tuple(v for v in dataset.videos if v.group in groups))


def _check_known(dataset: Dataset, groups: tuple[str, ...], key: str) -> None:
    if unknown := sorted(set(groups) - set(dataset.groups)):
        raise UsageError(f"{key}: {dataset.name} has no group {unknown[0]}")


def group_by_scene(
    dataset: Dataset, places: Mapping[Path, str], config: TrainConfig
) -> tuple[Dataset, str]:
    """``dataset`` with videos that have no group put together by place, and a line that says so.

    As it was, if places are too few to hold one out, or if the configuration names groups. Without
    anything to say the line is empty.

    Args:
        dataset: All videos.
        places: What place videos show, as far as that is known.
        config: What is held out.
    """
    loose = [v.path for v in dataset.videos if v.fallback_group and v.path in places]
    if not loose or config.calibration.groups or config.leave_out:
        return dataset, ""
    found = len({places[path] for path in loose})
    if found == len(loose):
        return dataset, (
            f"no group is given for {len(loose)} videos, and no two of them look as if they showed "
            "one place: each is a group of its own; if you know better, say it (docs/data.md)"
        )
    grouped = assign_scene_groups(dataset, places)
    if _held_out(dataset, config) and not _held_out(grouped, config):
        return dataset, (
            f"no group is given for {len(loose)} videos, and by their backgrounds they show only "
            f"{found} place{'s' if found > 1 else ''}, too few to hold one out: each video is a "
            "group of its own, and figures are of these places, not of new ones"
        )
    return grouped, (
        f"no group is given for {len(loose)} videos: by their backgrounds they show {found} "
        "places, and those of one place stay together"
    )


def _held_out(dataset: Dataset, config: TrainConfig) -> int:
    return len(hold_out(dataset, config.calibration, config.recipe.seed, lambda _: None).held_out)
