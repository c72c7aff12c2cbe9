"""What is missing or wrong among the feature files of a published data set, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.placed import folders_of
from oddframe.features.layout import SNIPPET_FRAMES
from oddframe.features.npy import is_finite, mapped
from oddframe.features.published import Fault, FaultKind, NpyFiles

Progress = Callable[[int, int], None]

KINDS: Mapping[FaultKind, str] = {
    "absent": "videos of which nothing is there",
    "missing": "files that are not there",
    "twice": "files that lie in two folders",
    "unreadable": "files that are cut off, no array of numbers, or hold Python objects",
    "shape": "arrays with another number of axes",
    "crops": "files with another number of crops",
    "dimension": "files with features of another length",
    "length": "crops with more or fewer rows than the others of their video",
    "sound": "files of the sound that do not fit the picture",
    "labels": "test videos with more or fewer rows than labelled snippets",
    "not finite": "files with NaN or infinite numbers",
}


@dataclass(frozen=True)
class FeatureFindings:
    """What a check found.

    Attributes:
        videos: How many the lists name.
        complete: Videos with nothing wrong.
        files: Feature files that were looked at, those of the sound among them.
        unlisted: ``.npy`` files in the folder of the picture that no list asks for.
        shorter_sound: Videos whose last row of the picture is dropped, for the sound ends earlier.
        faults: By kind, those that there are, in the order of ``KINDS``; each list in the order of
            the videos.
    """

    videos: int
    complete: int
    files: int
    unlisted: int
    shorter_sound: int
    faults: Mapping[FaultKind, tuple[Fault, ...]]


def check_features(
    dataset: Dataset,
    folder: Path,
    sound: Path | None = None,
    *,
    dim: int | None = None,
    contents: bool = True,
    progress: Progress | None = None,
) -> FeatureFindings:
    """Look at every feature file that the lists ask for.

    Args:
        dataset: A data set whose features are published.
        folder: Where they are, in any folders below it.
        sound: Where features of the sound are; None: they are not wanted.
        dim: Length of a feature of the picture; None: as the data set's authors have it.
        contents: Also whether all numbers are finite, which reads the files; otherwise their
            headers alone.
        progress: Called with (videos done, videos in all).

    Raises:
        UsageError: no features of this data set are published, or none of the sound.
        InputError: a folder cannot be listed.
    """
    folders = folders_of(dataset, folder, sound)
    layout = folders.layout
    faults: dict[FaultKind, list[Fault]] = {kind: [] for kind in KINDS}
    complete = files = shorter = 0
    for done, video in enumerate(dataset.videos, start=1):
        there, wrong = folders.of(video, dim or layout.dim)
        if there is not None:
            wrong, fewer = _inside(there, video, contents=contents)
            shorter += fewer
            files += len(there.files) + (there.sound is not None)
        complete += not wrong
        for fault in wrong:
            faults[fault.kind].append(fault)
        if progress is not None:
            progress(done, len(dataset))
    return FeatureFindings(
        videos=len(dataset),
        complete=complete,
        files=files,
        unlisted=folders.picture.unlisted((video.path.stem for video in dataset.videos), layout),
        shorter_sound=shorter,
        faults={kind: tuple(some) for kind, some in faults.items() if some},
    )


def _inside(files: NpyFiles, video: LabelledVideo, *, contents: bool) -> tuple[list[Fault], bool]:
    """What is wrong with files that are all there, and whether the sound is a row shorter."""
    seen = files.look()
    if seen.faults:
        return list(seen.faults), False
    faults = []
    rows, labelled = seen.shape[1], (video.frames or 0) // SNIPPET_FRAMES
    if video.part == "test" and labelled and rows != labelled:
        about = f"{rows} rows, but {labelled} snippets are labelled"
        faults.append(Fault("labels", files.files[0], about))
    if contents:
        every = [*files.files, *([files.sound] if files.sound else [])]
        faults += [
            Fault("not finite", path, "holds NaN or infinite numbers")
            for path in every
            if not is_finite(mapped(path))
        ]
    return faults, seen.sound is not None and seen.sound[0] < rows
