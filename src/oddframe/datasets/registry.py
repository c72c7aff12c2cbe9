"""Data sets by what a command line says: a folder, a CSV, or a name and where it lies."""

from __future__ import annotations

import re
from pathlib import Path

from oddframe._utils.files import exists, is_dir
from oddframe.datasets.labelled import Dataset, Survey
from oddframe.datasets.published import (
    ped2,
    shanghaitech,
    surveillance_fight,
    ucf_crime,
    ur_fall,
    xd_violence,
)
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.read import survey_path
from oddframe.errors import InputError, UsageError, nearest_name

_PUBLISHED: dict[str, PublishedDataset] = {
    about.name: about
    for about in (
        ped2.PED2,
        ur_fall.UR_FALL,
        surveillance_fight.SURVEILLANCE_FIGHT,
        shanghaitech.SHANGHAITECH_TRACKS,
        ucf_crime.UCF_CRIME,
        xd_violence.XD_VIOLENCE,
    )
}
# A name in front of a path; one letter alone is a drive.
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_-]+):(.*)", re.DOTALL)


def dataset_names() -> tuple[str, ...]:
    """The published data sets that are known by name."""
    return tuple(_PUBLISHED)


def get_published_dataset(name: str) -> PublishedDataset:
    """What is known of a published data set.

    Raises:
        UsageError: there is none of this name; the nearest one is said.
    """
    if name in _PUBLISHED:
        return _PUBLISHED[name]
    near = nearest_name(name, _PUBLISHED)
    meant = f"; did you mean {near}?" if near else ""
    raise UsageError(f"no data set is called {name}, only {', '.join(_PUBLISHED)}{meant}")


def open_dataset(text: str | Path) -> Dataset:
    """The data set that ``text`` means: a folder, a CSV, or ``NAME:DIR`` as ``ped2:/data/ped2``.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
        InputError: something is missing or wrong; one line says what and where.
    """
    return survey_dataset(text).require_valid()


def survey_dataset(text: str | Path) -> Survey:
    """As ``open_dataset``, with all that is wrong with your own data set, not just one thing.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
        InputError: nothing can be read.
    """
    named = find_published_dataset(text)
    if named is None:
        return survey_path(Path(text))
    about, folder = named
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder, where {about.name} was said to lie")
    return Survey(folder, about.open(folder))


def find_published_dataset(text: str | Path) -> tuple[PublishedDataset, Path] | None:
    """The published data set that ``text`` names, and its folder; None for your own data.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
    """
    path = Path(text)
    if exists(path):
        return None
    name = str(text)
    if name in _PUBLISHED:
        raise UsageError(f"{name}: say where it lies, as in {name}:/data/{name}")
    found = _NAMED.fullmatch(name)
    if found is None:
        return None
    about = get_published_dataset(found[1])
    if not found[2]:
        raise UsageError(f"{name}: say where it lies, as in {about.name}:/data/{about.name}")
    return about, Path(found[2])
