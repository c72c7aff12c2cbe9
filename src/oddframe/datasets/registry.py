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
from oddframe.datasets.published.manifest import Manifest
from oddframe.datasets.read import survey
from oddframe.errors import InputError, UsageError, nearest_name

_MANIFESTS: dict[str, Manifest] = {
    about.name: about
    for about in (
        ped2.MANIFEST,
        ur_fall.MANIFEST,
        surveillance_fight.MANIFEST,
        shanghaitech.MANIFEST,
        ucf_crime.MANIFEST,
        xd_violence.MANIFEST,
    )
}
# A name in front of a path; one letter alone is a drive.
_NAMED = re.compile(r"([A-Za-z][A-Za-z0-9_-]+):(.*)", re.DOTALL)


def dataset_names() -> tuple[str, ...]:
    """The published data sets that are known by name."""
    return tuple(_MANIFESTS)


def manifest(name: str) -> Manifest:
    """What is known of a published data set.

    Raises:
        UsageError: there is none of this name; the nearest one is said.
    """
    if name in _MANIFESTS:
        return _MANIFESTS[name]
    near = nearest_name(name, _MANIFESTS)
    meant = f"; did you mean {near}?" if near else ""
    raise UsageError(f"no data set is called {name}, only {', '.join(_MANIFESTS)}{meant}")


def open_dataset(text: str | Path) -> Dataset:
    """The data set that ``text`` means: a folder, a CSV, or ``NAME:DIR`` as ``ped2:/data/ped2``.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
        InputError: something is missing or wrong; one line says what and where.
    """
    return survey_dataset(text).checked()


def survey_dataset(text: str | Path) -> Survey:
    """As ``open_dataset``, with all that is wrong with your own data set, not just one thing.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
        InputError: nothing can be read.
    """
    named = manifest_of(text)
    if named is None:
        return survey(Path(text))
    about, folder = named
    if not is_dir(folder):
        raise InputError(f"{folder}: no such folder, where {about.name} was said to lie")
    return Survey(folder, about.open(folder))


def manifest_of(text: str | Path) -> tuple[Manifest, Path] | None:
    """The published data set that ``text`` names, and its folder; None for your own data.

    Raises:
        UsageError: there is no data set of that name, or its folder is not said.
    """
    path = Path(text)
    if exists(path):
        return None
    name = str(text)
    if name in _MANIFESTS:
        raise UsageError(f"{name}: say where it lies, as in {name}:/data/{name}")
    found = _NAMED.fullmatch(name)
    if found is None:
        return None
    about = manifest(found[1])
    if not found[2]:
        raise UsageError(f"{name}: say where it lies, as in {about.name}:/data/{about.name}")
    return about, Path(found[2])
