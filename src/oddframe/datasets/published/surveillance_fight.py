"""Surveillance Fight: 264 clips of about two seconds from 37 recordings, fights or not.

Aktı, Tataroğlu, Ekenel, "Vision-based Fight Detection from Surveillance Cameras" (IPTA 2019). Clips
of one recording look alike, so the recording is the group of a clip: split by group. Resolution,
frame rate and sound of the files give labels away: resample clips to one size and rate, and leave
sound out.
"""

from __future__ import annotations

from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.table import read_table


def read_surveillance_fight(root: Path) -> Dataset:
    """Read Surveillance Fight from a folder with ``clips.csv`` (path, label, source) and clips.

    Raises:
        InputError: the list or a clip is missing.
    """
    return read_table(root / "clips.csv", name="surveillance_fight")


SURVEILLANCE_FIGHT = PublishedDataset(
    name="surveillance_fight",
    title="Surveillance Fight, clips of two seconds",
    source="Aktı, Tataroğlu, Ekenel, IPTA 2019; MIT",  # noqa: RUF001 - their names.
    files="clips.csv (path, label, source), fight/ and noFight/ with the clips",
    group="the recording that a clip was cut from, 37 of them",
    read=read_surveillance_fight,
    videos=264,
    abnormal=130,
    note="file properties tell some of the labels: one size and rate, no sound",
)
