"""Holds out videos of one place together where the data set gives no groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.places import grouped_by_place
from oddframe.training.config import TrainConfig
from oddframe.training.holdout import hold_out


def by_place(
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
    loose = [v.path for v in dataset.videos if v.own_group and v.path in places]
    if not loose or config.calibration.groups or config.leave_out:
        return dataset, ""
    found = len({places[path] for path in loose})
    if found == len(loose):
        return dataset, (
            f"no group is given for {len(loose)} videos, and no two of them look as if they showed "
            "one place: each is a group of its own; if you know better, say it (docs/data.md)"
        )
    grouped = grouped_by_place(dataset, places)
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
