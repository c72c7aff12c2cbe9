"""XD-Violence (Wu et al., ECCV 2020) from the lists of UR-DMU's authors.

4,754 clips of films and of the web, with sound, six kinds of violence; five crops of I3D features
a video, and VGGish features of its sound.
"""

from __future__ import annotations

from pathlib import Path

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.manifest import Manifest
from oddframe.datasets.published import (
    Annotated,
    check_apart,
    read_annotation,
    read_list,
    truths_of,
    videos_below,
)
from oddframe.datasets.xd_names import XdName, oddities, parse_name
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
    train = read_list(root / "XD_Train.list", LAYOUT.crops)
    test = read_list(root / "XD_Test.list", LAYOUT.crops)
    check_apart(root, train, test)
    annotation = root / "XD_Annotation.txt"
    annotated = read_annotation(annotation, _annotated, _ANNOTATION)
    labels = truths_of(root, test, annotation, annotated)
    files = videos_below(root)

    def video(name: XdName, *, of_test: bool) -> LabelledVideo:
        return LabelledVideo(
            path=files.get(name.full, root / f"{name.full}.mp4"),
            abnormal=name.abnormal,
            label=name.label,
            group=name.work,
            truth=labels.truths[name.full] if of_test else None,
            part="test" if of_test else "train",
            frames=labels.frames.get(name.full) if of_test else None,
            fps=LAYOUT.fps,
        )

    training = [parse_name(root, name) for name in train]
    testing = [parse_name(root, name) for name in test]
    videos = [video(name, of_test=False) for name in training]
    videos += [video(name, of_test=True) for name in testing]
    return Dataset(NAME, tuple(videos), LAYOUT, labels.notes + oddities(training, testing))


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
