"""Videos whose label is known: what training starts from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oddframe.errors import InputError

NORMAL = "normal"


@dataclass(frozen=True)
class LabelledVideo:
    """A video and what is known of it.

    Attributes:
        path: File, or folder of frames.
        abnormal: Whether something odd happens somewhere in it.
        label: The class in words, ``fight``; ``normal`` for normal ones.
        group: Recording, camera or scene that it was cut from. Videos of one group look alike, so
            a fair split never parts them.
    """

    path: Path
    abnormal: bool
    label: str
    group: str


@dataclass(frozen=True)
class Dataset:
    """Labelled videos under one name; at least one normal and one abnormal one."""

    name: str
    videos: tuple[LabelledVideo, ...]

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def abnormal(self) -> NDArray[np.bool_]:
        """(N,) whether each video is abnormal."""
        return np.array([video.abnormal for video in self.videos], dtype=bool)

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups, sorted, each once."""
        return tuple(sorted({video.group for video in self.videos}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The abnormal labels, sorted, each once."""
        return tuple(sorted({video.label for video in self.videos if video.abnormal}))

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The videos at ``indices``, in that order."""
        return Dataset(self.name, tuple(self.videos[int(i)] for i in indices))


def plain(label: str) -> str:
    """A label as it is compared: no blanks around it, no difference in case."""
    return label.strip().casefold()


def check_labels(spellings: Sequence[tuple[str, str]], where: Path) -> None:
    """Check labels as they were written, each with the place where it stands.

    Raises:
        InputError: one label is spelled two ways, one looks like a misspelt ``normal``, or either
            the normal or the abnormal class is missing.
    """
    first: dict[str, tuple[str, str]] = {}
    for written, place in spellings:
        if not plain(written):
            raise InputError(f"{where}: no label {place}")
        other, other_place = first.setdefault(plain(written), (written, place))
        if other != written:
            raise InputError(
                f'{where}: one label is spelled two ways, "{other}" {other_place} and '
                f'"{written}" {place}; spell it one way'
            )
    for label, (written, place) in first.items():
        near_normal = NORMAL not in label and difflib.get_close_matches(label, [NORMAL], cutoff=0.8)
        if near_normal:
            raise InputError(
                f"{where}: the label \"{written}\" {place} looks like a misspelt 'normal'"
            )
    found = ", ".join(f"'{written}'" for written, _ in first.values())
    if NORMAL not in first:
        raise InputError(
            f"{where}: nothing is labelled 'normal', only {found}; "
            "name the class of normal videos 'normal'"
        )
    if len(first) == 1:
        raise InputError(f"{where}: only normal videos; it takes at least one other class")
