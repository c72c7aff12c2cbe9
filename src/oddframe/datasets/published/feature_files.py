"""Imports the feature files of a published data set into a store, and checks such files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oddframe._utils.progress import ProgressCallback
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


@dataclass(frozen=True)
class ImportSummary:
    """What an import did.

    Attributes:
        spec: Spec of the imported features.
        new: Number of videos that were imported.
        kept: Number of videos that were in the store already.
        snippets: Number of snippets of the new videos.
        failed: The reason for each other video, in the order of the lists.
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
    """Copy the features of a published data set into a store.

    The crops of a video become one file, joined with the audio features if ``sound`` is given. The
    dimension of features is that of most videos; a video with another one fails. A video that
    fails does not stop the others. An import that was stopped can be repeated: what is in the store
    is not imported again.

    Args:
        dataset: The data set.
        folder: The folder with its feature files, in it or anywhere below.
        store: The feature store.
        sound: The folder with audio features; None: they are not used.
        fresh: Import again what is in the store.
        progress: Called with (videos done, videos in all).

    Raises:
        UsageError: no features of this data set are published, or no audio features, or other
            features of the same kind were imported.
        InputError: a folder cannot be listed, or has no features of this data set.
        OddframeError: a file cannot be written.
    """
    folders = scan_feature_folders(dataset, folder, sound)
    layout = folders.layout
    dim = _most_common_dim(dataset, folders)
    spec = imported_spec(dim, layout.crops, layout.audio_dim if sound is not None else 0)
    record_import(store, dataset.name, spec)
    failed: list[str] = []
    new = kept = snippets = 0
    for done, video in enumerate(dataset.videos, start=1):
        target = imported_file(store, dataset.name, video.path.stem, spec)
        if not fresh and _is_imported(target, spec):
            kept += 1
        else:
            try:
                files, faults = folders.find(video, dim)
                if files is None:
                    raise InputError(str(faults[0]))
                snippets += _import_video(files, dataset, video, store)
                new += 1
            except InputError as error:
                failed.append(str(error))
        if progress is not None:
            progress(done, len(dataset), f"importing {dataset.name}")
    return ImportSummary(spec, new, kept, snippets, tuple(failed))


def _most_common_dim(dataset: Dataset, folders: FeatureFolders) -> int:
    """The dimension of features that most videos have."""
    dims: Counter[int] = Counter()
    for video in dataset.videos:
        files, _ = folders.picture.find(video.path.stem, folders.layout)
        inspection = None if files is None else files.inspect()
        if inspection is not None and not inspection.faults:
            dims[inspection.shape[2]] += 1
    if not dims:
        raise no_features_error(dataset, folders.picture.root)
    return dims.most_common(1)[0][0]


def _is_imported(file: StoredFeatures, spec: FeatureSpec) -> bool:
    try:
        return read_feature_header(file.path).spec == spec
    except InputError:
        return False


def _import_video(
    files: NpyFiles, dataset: Dataset, video: LabelledVideo, store: FeatureStore
) -> int:
    """Import one video and return its number of snippets."""
    features = files.open()
    try:
        store.put(import_key(dataset.name, video.path.stem), features)
    except InputError:  # Name the published file, not the store's.
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
    """What a check of feature files found.

    Attributes:
        videos: Number of videos in the lists.
        complete: Number of videos without faults.
        files: Number of feature files that were checked, audio features included.
        unlisted: Number of ``.npy`` files that no list names.
        shorter_sound: Number of videos whose last visual row is dropped because the audio features
            end earlier.
        faults: Faults by kind, in the order of ``FAULT_DESCRIPTIONS`` and of the videos.
    """

    videos: int
    complete: int
    files: int
    unlisted: int
    shorter_sound: int
    faults: Mapping[FaultKind, tuple[Fault, ...]]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        faults = {
            kind: [{"file": str(fault.path), "about": fault.message} for fault in found]
            for kind, found in self.faults.items()
        }
        return {**asdict(self), "faults": faults}


def check_features(
    dataset: Dataset,
    folder: Path,
    sound: Path | None = None,
    *,
    dim: int | None = None,
    contents: bool = True,
    progress: ProgressCallback | None = None,
) -> FeatureFindings:
    """Check all feature files of a published data set.

    Args:
        dataset: The data set.
        folder: The folder with its feature files, in it or anywhere below.
        sound: The folder with audio features; None: they are not checked.
        dim: Dimension of visual features; None: as the authors of the data set have it.
        contents: Read the files and check that all numbers are finite; False: check headers only.
        progress: Called with (videos done, videos in all).

    Raises:
        UsageError: no features of this data set are published, or no audio features.
        InputError: a folder cannot be listed.
    """
    folders = scan_feature_folders(dataset, folder, sound)
    layout = folders.layout
    faults: dict[FaultKind, list[Fault]] = {kind: [] for kind in FAULT_DESCRIPTIONS}
    complete = files = shorter = 0
    for done, video in enumerate(dataset.videos, start=1):
        found, video_faults = folders.find(video, dim or layout.dim)
        if found is not None:
            video_faults, is_shorter = _check_files(found, video, contents=contents)
            shorter += is_shorter
            files += len(found.files) + (found.sound is not None)
        complete += not video_faults
        for fault in video_faults:
            faults[fault.kind].append(fault)
        if progress is not None:
            progress(done, len(dataset), "feature files")
    return FeatureFindings(
        videos=len(dataset),
        complete=complete,
        files=files,
        unlisted=folders.picture.count_unlisted(
            (video.path.stem for video in dataset.videos), layout
        ),
        shorter_sound=shorter,
        faults={kind: tuple(some) for kind, some in faults.items() if some},
    )


def _check_files(
    files: NpyFiles, video: LabelledVideo, *, contents: bool
) -> tuple[list[Fault], bool]:
    """The faults of a complete set of files, and whether the audio features are a row shorter."""
    inspection = files.inspect()
    if inspection.faults:
        return list(inspection.faults), False
    faults = []
    rows, labelled = inspection.shape[1], (video.frames or 0) // SNIPPET_FRAMES
    if video.part == "test" and labelled and rows != labelled:
        about = f"{rows} rows, but {labelled} snippets are labelled"
        faults.append(Fault("labels", files.files[0], about))
    if contents:
        paths = [*files.files, *([files.sound] if files.sound else [])]
        faults += [
            Fault("not finite", path, "holds NaN or infinite numbers")
            for path in paths
            if not is_finite(map_npy(path))
        ]
    return faults, inspection.sound is not None and inspection.sound[0] < rows
