"""Opens data sets: the user's own by path, published ones by name and folder (``ped2:/data/ped2``).

To add a published data set, write its module in ``published/`` and add one line to ``_PUBLISHED``.
Imports of other modules are inside functions, so that the command line can list names at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from oddframe._utils.files import exists, is_dir
from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError, UsageError, nearest_name

if TYPE_CHECKING:
    from oddframe.datasets.labelled import Dataset, Survey


@dataclass(frozen=True)
class PublishedDataset:
    """A published data set: what it is, what its folder holds, how to read it.

    Attributes:
        name: Name on the command line.
        title: Name in print.
        source: Paper or page, and the terms of use.
        files: What its folder must contain.
        group: What a group of videos is, such as a camera.
        read: Reads the data set from its folder.
        videos: Number of videos.
        abnormal: Number of abnormal videos.
        labelled_frames: Number of frames with a label; 0: only videos are labelled.
        anomalous_frames: Number of frames that are labelled anomalous.
        note: What limits the meaning of results on it.
    """

    name: str
    title: str
    source: str
    files: str
    group: str
    read: Callable[[Path], Dataset]
    videos: int
    abnormal: int
    labelled_frames: int = 0
    anomalous_frames: int = 0
    note: str = ""


# By name, the ``PublishedDataset`` as ``module:attribute``.
_PUBLISHED = {
    "ped2": "oddframe.datasets.published.video_files:PED2",
    "ur_fall": "oddframe.datasets.published.video_files:UR_FALL",
    "surveillance_fight": "oddframe.datasets.published.video_files:SURVEILLANCE_FIGHT",
    "shanghaitech_tracks": "oddframe.datasets.published.feature_files:SHANGHAITECH_TRACKS",
    "ucf_crime": "oddframe.datasets.published.feature_files:UCF_CRIME",
    "xd_violence": "oddframe.datasets.published.feature_files:XD_VIOLENCE",
}
# NAME:DIR; a single letter before the colon is a drive.
_NAME_AND_FOLDER = re.compile(r"([A-Za-z][A-Za-z0-9_-]+):(.*)", re.DOTALL)


def dataset_names() -> tuple[str, ...]:
    """Names of the published data sets."""
    return tuple(_PUBLISHED)


def get_published_dataset(name: str) -> PublishedDataset:
    """The description of a published data set; a UsageError suggests the nearest name."""
    if name in _PUBLISHED:
        dataset: PublishedDataset = resolve_name(_PUBLISHED[name])
        return dataset
    near = nearest_name(name, _PUBLISHED)
    suggestion = f"; did you mean {near}?" if near else ""
    raise UsageError(f"no data set is called {name}, only {', '.join(_PUBLISHED)}{suggestion}")


def open_dataset(text: str | Path) -> Dataset:
    """Open a folder or a CSV of the user's own data, or ``NAME:DIR`` such as ``ped2:/data/ped2``.

    UsageError if the name is unknown, InputError if something is missing or wrong.
    """
    return survey_dataset(text).require_valid()


def survey_dataset(data: str | Path | Dataset) -> Survey:
    """As ``open_dataset``, but collect all problems of the user's own data instead of raising.

    A ``Dataset`` is taken as it is.
    """
    from oddframe.datasets.labelled import Dataset, Survey
    from oddframe.datasets.read import survey_path

    if isinstance(data, Dataset):
        return Survey(Path(data.name), data)
    published = find_published_dataset(data)
    if published is None:
        return survey_path(Path(data))
    dataset, folder = published
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder; it was given as the folder of {dataset.name}")
    return Survey(folder, dataset.read(folder))


def find_published_dataset(text: str | Path) -> tuple[PublishedDataset, Path] | None:
    """The published data set that ``text`` names, and its folder; None: the user's own data."""
    if exists(Path(text)):
        return None
    name = str(text)
    if name in _PUBLISHED:
        raise UsageError(f"{name}: give its folder, as in {name}:/data/{name}")
    found = _NAME_AND_FOLDER.fullmatch(name)
    if found is None:
        return None
    dataset = get_published_dataset(found[1])
    if not found[2]:
        raise UsageError(f"{name}: give its folder, as in {dataset.name}:/data/{dataset.name}")
    return dataset, Path(found[2])
