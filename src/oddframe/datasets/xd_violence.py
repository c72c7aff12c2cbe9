"""XD-Violence (Wu et al., ECCV 2020) from the lists of UR-DMU's authors.

4,754 clips of films and of the web, with sound, six kinds of violence; five crops of I3D features
a video, and VGGish features of its sound.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.manifest import Manifest
from oddframe.datasets.published import read_published
from oddframe.datasets.published_labels import Annotated
from oddframe.datasets.xd_names import oddities, parse_name
from oddframe.features.layout import Layout

NAME = "xd_violence"
LAYOUT = Layout(crops=5, fps=24.0, sound_dim=128)
_ANNOTATION = "NAME 0 1517 1970 3038"


def xd_violence(root: Path) -> Dataset:
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

    dataset = read_published(root, NAME, LAYOUT, "XD", said_of, _annotated, _ANNOTATION)
    train = [parse_name(root, v.path.stem) for v in dataset.of_part("train").videos]
    test = [parse_name(root, v.path.stem) for v in dataset.of_part("test").videos]
    return replace(dataset, notes=dataset.notes + oddities(train, test))


def _annotated(fields: list[str]) -> tuple[str, Annotated]:
    name, *edges = fields
    pairs = zip(map(int, edges[::2]), map(int, edges[1::2]), strict=True)
    return name.removesuffix(".mp4"), Annotated(tuple(pairs))


MANIFEST = Manifest(
    name=NAME,
    title="XD-Violence, as I3D features in five crops, and VGGish features of the sound",
    source="Wu et al., ECCV 2020; lists of UR-DMU (Zhou et al., AAAI 2023)",
    folder="XD_Train.list, XD_Test.list, XD_Annotation.txt, test_frame_labels.json",
    group="the film or web video that a clip was cut from",
    open=xd_violence,
    videos=4754,
    abnormal=2405,
    labelled_frames=2_330_384,
    anomalous_frames=537_805,
    note="labelled frames are 16 for each snippet; of several labels the first counts",
)
