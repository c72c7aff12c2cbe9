"""XD-Violence (Wu et al., ECCV 2020) from the lists of UR-DMU's authors.

4,754 clips of films and web videos with sound, six kinds of violence, I3D features in five crops
and VGGish features of the sound. The name of a clip, such as
``Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6``, states its film, its time span and its labels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset
from oddframe.datasets.published.lists import FrameLabels, read_list_dataset
from oddframe.datasets.registry import PublishedDataset
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout

_VIOLENCE_LABELS = {
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
    """The parts of a clip's name."""

    full: str
    work: str  # The film, or the id of the web video.
    clip: str  # Which part of the work it is.
    letters: tuple[str, ...]  # Kinds of violence, the most important first; empty: normal.

    @property
    def label(self) -> str:
        """The most important kind of violence, by letter and in words, or ``normal``."""
        return f"{self.letters[0]} {_VIOLENCE_LABELS[self.letters[0]]}" if self.letters else NORMAL

    @property
    def span(self) -> tuple[int, int] | None:
        """Start and end in seconds of the work, if the name has them."""
        found = _SPAN.fullmatch(self.clip)
        if found is None:
            return None
        h0, m0, s0, h1, m1, s1 = map(int, found.groups())
        return 3600 * h0 + 60 * m0 + s0, 3600 * h1 + 60 * m1 + s1


def parse_name(root: Path, name: str) -> XdName:
    """Parse a clip's name; the zeros that fill a label up to three letters may be missing."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(f"{root}: {name} is no video of XD-Violence: it has no _label_ at its end")
    letters = () if found[3] == "A" else tuple(x for x in found[3].split("-") if x != "0")
    return XdName(name, found[1], found[2], letters)


def _listed_twice(names: Sequence[XdName]) -> list[str]:
    by_clip = defaultdict(list)
    for name in names:
        by_clip[name.work, name.clip].append(name)
    return [
        f"{same[0].work}__#{same[0].clip} is listed {len(same)} times, as "
        f"{' and '.join(name.label for name in same)}: all are kept, as published"
        for same in by_clip.values()
        if len(same) > 1
    ]


def _shared_works(train: Sequence[XdName], test: Sequence[XdName]) -> list[str]:
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
    overlaps = [
        (min(end, stop) - max(start, begin), name)
        for name in test
        if name.span is not None
        for (start, end), (begin, stop) in ((name.span, other) for other in spans[name.work])
        if min(end, stop) > max(start, begin)
    ]
    if not overlaps:
        return []
    longest, name = max(overlaps, key=lambda pair: pair[0])
    return [
        f"{len(overlaps)} test videos show up to {longest} s of a training video "
        f"({name.full}): kept"
    ]


def read_xd_violence(root: Path) -> Dataset:
    """Read XD-Violence from a folder with its lists.

    The label is the first letter at the end of a name, which its authors call the most important;
    ``A`` is normal. A group is the film or web video that a clip was cut from. ``frames`` of a test
    video is 16 times its number of snippets, as in ``test_frame_labels.json`` and published
    results. Irregular clips are kept, as published; ``notes`` lists them.
    """

    def label_and_group(name: str) -> tuple[str, str]:
        parsed = parse_name(root, name)
        return parsed.label, parsed.work

    dataset = read_list_dataset(
        root,
        "xd_violence",
        PublishedLayout(crops=5, fps=24.0, audio_dim=128),
        "XD",
        label_and_group,
        _parse_annotation,
        "NAME 0 1517 1970 3038",
    )
    train = [parse_name(root, v.path.stem) for v in dataset.select_part("train").videos]
    test = [parse_name(root, v.path.stem) for v in dataset.select_part("test").videos]
    notes = _listed_twice([*train, *test]) + _shared_works(train, test) + _overlaps(train, test)
    return replace(dataset, notes=(*dataset.notes, *notes))


def _parse_annotation(fields: list[str]) -> tuple[str, FrameLabels]:
    name, *ends = fields
    pairs = zip(map(int, ends[::2]), map(int, ends[1::2]), strict=True)
    return name.removesuffix(".mp4"), FrameLabels(tuple(pairs))


XD_VIOLENCE = PublishedDataset(
    name="xd_violence",
    title="XD-Violence, as I3D features in five crops, and VGGish features of the sound",
    source="Wu et al., ECCV 2020; lists of UR-DMU (Zhou et al., AAAI 2023)",
    files="XD_Train.list, XD_Test.list, XD_Annotation.txt, test_frame_labels.json; "
    "optionally glance.csv",
    group="the film or web video that a clip was cut from",
    read=read_xd_violence,
    videos=4754,
    abnormal=2405,
    labelled_frames=2_330_384,
    anomalous_frames=537_805,
    note="labelled frames are 16 for each snippet; of several labels the first counts",
)
