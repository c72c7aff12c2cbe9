"""Names of XD-Violence: ``Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6`` and what they tell."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import NORMAL
from oddframe.errors import InputError

KINDS = {
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}
_NAME = re.compile(r"(.+?)__#(.+)_label_(A|(?:B[12456]|G)(?:-(?:B[12456]|G|0))*)")
_SPAN = re.compile(r"(\d+)-(\d+)-(\d+)_(\d+)-(\d+)-(\d+)")


@dataclass(frozen=True)
class XdName:
    """What the name of a clip says.

    Attributes:
        full: The whole name.
        work: The film, or the web video by its id.
        clip: Which part of it.
        letters: What happens, the most important first; none: nothing does.
    """

    full: str
    work: str
    clip: str
    letters: tuple[str, ...]

    @property
    def label(self) -> str:
        """The most important thing that happens, by its letter and in words."""
        return f"{self.letters[0]} {KINDS[self.letters[0]]}" if self.letters else NORMAL

    @property
    def span(self) -> tuple[int, int] | None:
        """Start and end in seconds of the work, where the name has them."""
        found = _SPAN.fullmatch(self.clip)
        if found is None:
            return None
        h0, m0, s0, h1, m1, s1 = map(int, found.groups())
        return 3600 * h0 + 60 * m0 + s0, 3600 * h1 + 60 * m1 + s1


def parse_name(root: Path, name: str) -> XdName:
    """Take a name apart; the zeros that fill a label up to three letters may be missing.

    Raises:
        InputError: it is no name of XD-Violence.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{root}: {name} is no video of XD-Violence: it has no _label_ at its end")
    letters = () if found[3] == "A" else tuple(x for x in found[3].split("-") if x != "0")
    return XdName(name, found[1], found[2], letters)


def oddities(train: Sequence[XdName], test: Sequence[XdName]) -> tuple[str, ...]:
    """What a reader of figures should know of these lists, a line each.

    One clip under two labels, test clips from works that training clips are from too, and test
    clips that show some seconds of a training clip.
    """
    return (*_twice([*train, *test]), *_shared(train, test), *_overlaps(train, test))


def _twice(names: Sequence[XdName]) -> list[str]:
    by_clip = defaultdict(list)
    for name in names:
        by_clip[name.work, name.clip].append(name)
    return [
        f"{same[0].work}__#{same[0].clip} is listed {len(same)} times, as "
        f"{' and '.join(name.label for name in same)}: all are kept, as published"
        for same in by_clip.values()
        if len(same) > 1
    ]


def _shared(train: Sequence[XdName], test: Sequence[XdName]) -> list[str]:
    works = {name.work for name in train}
    shared = sum(name.work in works for name in test)
    if not shared:
        return []
    return [
        f"{shared} of {len(test)} test videos are from films or web videos that training videos "
        "are from too: figures say little of other films"
    ]


def _overlaps(train: Sequence[XdName], test: Sequence[XdName]) -> list[str]:
    spans = defaultdict(list)
    for name in train:
        if name.span is not None:
            spans[name.work].append(name.span)
    common = [
        (min(end, stop) - max(start, begin), name)
        for name in test
        if name.span is not None
        for (start, end), (begin, stop) in ((name.span, other) for other in spans[name.work])
        if min(end, stop) > max(start, begin)
    ]
    if not common:
        return []
    longest, name = max(common, key=lambda pair: pair[0])
    return [
        f"{len(common)} test videos show up to {longest} s of a training video ({name.full}): kept"
    ]
