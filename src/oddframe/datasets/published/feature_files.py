"""Published feature files into the store, a video at a time, so that an import can be taken up.

What is missing or wrong among the feature files of a published data set, before any training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.attach_features import (
    FeatureFolders,
    no_features_error,
    scan_feature_folders,
)
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import read_feature_header
from oddframe.features.formats.npy import is_finite, map_npy
from oddframe.features.formats.published import Fault, FaultKind, NpyFiles
from oddframe.features.presets import SNIPPET_FRAMES, imported_spec
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.imports import StoredFeatures, import_key, imported_file, record_import
from oddframe.features.store.store import FeatureStore

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes:
        spec: Of all that was imported.
        new: Videos that were imported.
        kept: Videos that were in the store already.
        snippets: Of the new ones, each crop counted once.
        failed: Why the others were not, a line each, in the order of the lists.
    """

    spec: FeatureSpec
    new: int
    kept: int
    snippets: int
    failed: tuple[str, ...]


def import_features(
    dataset: Dataset,
    folder: Path,
    store: FeatureStore,
    sound: Path | None = None,
    *,
    fresh: bool = False,
    progress: ProgressCallback | None = None,
) -> ImportSummary:
    """Copy the features of a published data set into the store; a fault never stops the rest.

    All crops of a video become one file, with the sound beside the picture if it is asked for; a
    file is written whole or not at all. All videos have the length of features that most have; one
    of another length fails.

    Args:
        dataset: The data set.
        folder: Where its feature files lie, in any folders below.
        store: Where they go.
        sound: Where features of the sound lie; None: they are not wanted.
        fresh: Import also what is in the store already.
        progress: Called with (videos done, videos in all).

    Raises:
        UsageError: no features of this data set are published, none of the sound, or other
            features of the same kind were imported.
        InputError: a folder cannot be listed, or there is nothing of this data set in it.
        OddframeError: a file cannot be written.
    """
    folders = scan_feature_folders(dataset, folder, sound)
    layout = folders.layout
    dim = _usual_length(dataset, folders)
    spec = imported_spec(dim, layout.crops, layout.audio_dim if sound is not None else 0)
    record_import(store, dataset.name, spec)
    failed: list[str] = []
    new = kept = snippets = 0
    for done, video in enumerate(dataset.videos, start=1):
        place = imported_file(store, dataset.name, video.path.stem, spec)
        if not fresh and _is_there(place, spec):
            kept += 1
        else:
            try:
                files, faults = folders.of(video, dim)
                if files is None:
                    raise InputError(str(faults[0]))
                snippets += _put(files, dataset, video, store)
                new += 1
            except InputError as error:
                failed.append(str(error))
        if progress is not None:
            progress(done, len(dataset))
    return ImportSummary(spec, new, kept, snippets, tuple(failed))


def _usual_length(dataset: Dataset, folders: FeatureFolders) -> int:
    """The length of features that most videos have."""
    lengths: Counter[int] = Counter()
    for video in dataset.videos:
        files, _ = folders.picture.of(video.path.stem, folders.layout)
        seen = None if files is None else files.inspect()
        if seen is not None and not seen.faults:
            lengths[seen.shape[2]] += 1
    if not lengths:
        raise no_features_error(dataset, folders.picture.root)
    return lengths.most_common(1)[0][0]


def _is_there(place: StoredFeatures, spec: FeatureSpec) -> bool:
    try:
        return read_feature_header(place.path).spec == spec
    except InputError:
        return False


def _put(files: NpyFiles, dataset: Dataset, video: LabelledVideo, store: FeatureStore) -> int:
    """Import one video; its snippets."""
    features = files.open()
    try:
        store.put(import_key(dataset.name, video.path.stem), features)
    except InputError:  # The store's file is not what is wrong.
        raise InputError(f"{files.files[0]}: holds NaN or infinite numbers in some crop") from None
    return features.timebase.n_snippets


FAULT_DESCRIPTIONS: Mapping[FaultKind, str] = {
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
    progress: ProgressCallback | None = None,
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
    folders = scan_feature_folders(dataset, folder, sound)
    layout = folders.layout
    faults: dict[FaultKind, list[Fault]] = {kind: [] for kind in FAULT_DESCRIPTIONS}
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
    seen = files.inspect()
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
            if not is_finite(map_npy(path))
        ]
    return faults, seen.sound is not None and seen.sound[0] < rows
