"""Surveillance Fight: 264 clips of about two seconds from 37 recordings, fights or not.

Aktı, Tataroğlu, Ekenel, "Vision-based Fight Detection from Surveillance Cameras" (IPTA 2019), with
the recording that each clip was cut from as its group. Clips of one recording look alike: split by
group. File properties (resolution, frame rate, sound) give the label away, so bring clips to one
size and rate and leave sound out.
"""

from __future__ import annotations

from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.table import read_table


def read_surveillance_fight(root: Path) -> Dataset:
    """The data set from its folder, which holds ``clips.csv`` (path, label, source) and the clips.

    Raises:
        InputError: the list or a clip is missing.
    """
    return read_table(root / "clips.csv", name="surveillance_fight")


SURVEILLANCE_FIGHT = PublishedDataset(
    name="surveillance_fight",
    title="Surveillance Fight, clips of two seconds",
    source="Aktı, Tataroğlu, Ekenel, IPTA 2019; MIT",  # noqa: RUF001 - their names.  # noqa: RUF001
    folder="clips.csv (path, label, source), fight/ and noFight/ with the clips",
    group="the recording that a clip was cut from, 37 of them",
    open=read_surveillance_fight,
    videos=264,
    abnormal=130,
    note="file properties tell some of the labels: one size and rate, no sound",
)
