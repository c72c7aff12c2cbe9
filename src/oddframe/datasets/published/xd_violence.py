"""XD-Violence (Wu et al., ECCV 2020) from the lists of UR-DMU's authors.

4,754 clips of films and of the web, with sound, six kinds of violence; five crops of I3D features
a video, and VGGish features of its sound.

Names of XD-Violence: ``Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6`` and what they tell.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe.datasets.labelled import NORMAL, Dataset
from oddframe.datasets.published.base import PublishedDataset
from oddframe.datasets.published.lists import VideoAnnotation, read_list_dataset
from oddframe.errors import InputError
from oddframe.features.presets import PublishedLayout

VIOLENCE_LABELS = {
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
        return f"{self.letters[0]} {VIOLENCE_LABELS[self.letters[0]]}" if self.letters else NORMAL

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


def find_irregularities(train: Sequence[XdName], test: Sequence[XdName]) -> tuple[str, ...]:
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


_DATASET = "xd_violence"
_LAYOUT = PublishedLayout(crops=5, fps=24.0, audio_dim=128)
_ANNOTATION = "NAME 0 1517 1970 3038"


def read_xd_violence(root: Path) -> Dataset:
    """The data set from a folder with its lists.

    ``XD_Train.list`` and ``XD_Test.list`` have a line a crop, five a video; what happens is read
    from the name, ``..._label_B1-B2-0``, never from the place in the list: ``A`` is normal, and of
    several letters the first, which its authors call the most important, is the label.
    ``XD_Annotation.txt`` (name, then starts and ends in frames) and ``test_frame_labels.json`` say
    when it happens; one of them is enough.

    ``frames`` of a test video is 16 times its number of snippets, as ``test_frame_labels.json`` has
    it and as published figures count; the annotation does not say how long a video is, and neither
    does any list for training videos. Features have their own count, 16 times the rows that are
    there. Intervals that end past the last snippet are clipped.

    A video's path is its file, where one of its name lies somewhere in ``root``; else where it
    would lie. A group is the film or the web video that a clip was cut from. Everything is kept as
    published, also what is odd about it; ``notes`` say what (see ``xd_names.oddities``).

    Raises:
        InputError: a list or the labels are missing or wrong.
    """

    def said_of(name: str) -> tuple[str, str]:
        parsed = parse_name(root, name)
        return parsed.label, parsed.work

    dataset = read_list_dataset(root, _DATASET, _LAYOUT, "XD", said_of, _annotated, _ANNOTATION)
    train = [parse_name(root, v.path.stem) for v in dataset.select_part("train").videos]
    test = [parse_name(root, v.path.stem) for v in dataset.select_part("test").videos]
    return replace(dataset, notes=dataset.notes + find_irregularities(train, test))


def _annotated(fields: list[str]) -> tuple[str, VideoAnnotation]:
    name, *edges = fields
    pairs = zip(map(int, edges[::2]), map(int, edges[1::2]), strict=True)
    return name.removesuffix(".mp4"), VideoAnnotation(tuple(pairs))


XD_VIOLENCE = PublishedDataset(
    name=_DATASET,
    title="XD-Violence, as I3D features in five crops, and VGGish features of the sound",
    source="Wu et al., ECCV 2020; lists of UR-DMU (Zhou et al., AAAI 2023)",
    folder="XD_Train.list, XD_Test.list, XD_Annotation.txt, test_frame_labels.json",
    group="the film or web video that a clip was cut from",
    open=read_xd_violence,
    videos=4754,
    abnormal=2405,
    labelled_frames=2_330_384,
    anomalous_frames=537_805,
    note="labelled frames are 16 for each snippet; of several labels the first counts",
)
