"""Precomputed features of a data set: its own feature files, published ones, imported ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from oddframe._utils.files import exists, is_dir
from oddframe._utils.progress import ProgressCallback
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.feature_file import (
    StoredFeatures,
    is_feature_file,
    read_any_features,
    read_feature_header,
)
from oddframe.features.formats.npy import is_finite, map_npy
from oddframe.features.formats.published import (
    Fault,
    FaultKind,
    FeatureFolder,
    NpyFiles,
    UnusableFeatures,
)
from oddframe.features.presets import SNIPPET_FRAMES, PublishedLayout, imported_spec
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.store import (
    FeatureStore,
    content_hash,
    import_key,
    imported_file,
    imported_specs,
    record_import,
)


def has_precomputed_features(video: LabelledVideo) -> bool:
    """Whether the video comes with features, so that none are extracted from it."""
    return video.precomputed is not None or is_feature_file(video.path)


def load_precomputed_features(video: LabelledVideo) -> Features:
    """Open the precomputed features of a video; they may stay on disk (``CropArray``)."""
    if video.precomputed is not None:
        return video.precomputed.open()
    return read_any_features(video.path, video.frames, video.fps)


def video_digest(video: LabelledVideo) -> str:
    """sha256 (hex) of the video's precomputed features, or else of its file."""
    return content_hash(video.path) if video.precomputed is None else video.precomputed.digest()


def attach_features(
    dataset: Dataset,
    store: FeatureStore,
    features: str | Path | None = None,
    sound: Path | None = None,
) -> Dataset:
    """Set ``precomputed`` of each video; no features are read yet.

    ``features`` is a folder of feature files, or the kind of imported features in the store
    (``i3d``, ``i3d+vggish``). None: use the videos if their files exist, else the imported features
    if there is one kind of them. ``sound`` is a folder of audio features, to be joined to those of
    the folder ``features``. A data set without published features is returned as it is.
    """
    if dataset.layout is None and features is None and sound is None:
        return dataset
    if features is not None and (dataset.layout is None or is_dir(Path(features))):
        return _attach_from_folder(dataset, Path(features), sound)
    if sound is not None:
        raise UsageError("--sound needs --features DIR: it is joined to the features of a folder")
    if features is None and any(exists(video.path) for video in dataset.videos):
        return dataset
    return _attach_imported(dataset, store, features)


@dataclass(frozen=True)
class FeatureFolders:
    """The folders with the feature files of a data set; ``sound`` is None if it is not used."""

    layout: PublishedLayout
    picture: FeatureFolder
    sound: FeatureFolder | None

    def find(
        self, video: LabelledVideo, dim: int | None = None
    ) -> tuple[NpyFiles | None, list[Fault]]:
        """The feature files of a video, or the faults of their names; see ``FeatureFolder``."""
        return self.picture.find(video.path.stem, self.layout, sound=self.sound, dim=dim)


def scan_feature_folders(
    dataset: Dataset, features: Path, sound: Path | None = None
) -> FeatureFolders:
    """List the folders with a data set's feature files; UsageError if none are published."""
    if dataset.layout is None:
        raise UsageError(f"{dataset.name} has no published features; leave --features away")
    if sound is not None and not dataset.layout.audio_dim:
        raise UsageError(f"{dataset.name} has no features of the sound; leave --sound away")
    audio = None if sound is None else FeatureFolder.scan(sound)
    return FeatureFolders(dataset.layout, FeatureFolder.scan(features), audio)


def no_features_error(dataset: Dataset, folder: Path) -> InputError:
    """The error for a folder without usable features of a data set."""
    return InputError(
        f"{folder}: no complete features of any video of {dataset.name}; "
        f"oddframe data check {dataset.name} --data DIR --features {folder} says what is there"
    )


def _attach_from_folder(dataset: Dataset, folder: Path, sound: Path | None) -> Dataset:
    folders = scan_feature_folders(dataset, folder, sound)
    videos, complete = [], 0
    for video in dataset.videos:
        files, faults = folders.find(video)
        complete += files is not None
        videos.append(replace(video, precomputed=files or UnusableFeatures(str(faults[0]))))
    if not complete:
        raise no_features_error(dataset, folder)
    return replace(dataset, videos=tuple(videos))


def _attach_imported(dataset: Dataset, store: FeatureStore, kind: str | Path | None) -> Dataset:
    kinds = imported_specs(store, dataset.name)
    known = ", ".join(kinds) or "none"
    if kind is not None and str(kind) not in kinds:
        raise UsageError(
            f"--features {kind}: no such folder, and not what was imported of {dataset.name} into "
            f"{store.root}: {known}"
        )
    if not kinds:
        raise UsageError(
            f"{dataset.name}: its videos are not here, and no features of it are in {store.root}; "
            f"say --features DIR, or once: oddframe import features DIR --dataset {dataset.name} "
            "--data DIR"
        )
    if kind is None and len(kinds) > 1:
        raise UsageError(f"{dataset.name}: say which of its features: --features {known}")
    spec = kinds[str(kind)] if kind is not None else next(iter(kinds.values()))
    videos = (
        replace(video, precomputed=imported_file(store, dataset.name, video.path.stem, spec))
        for video in dataset.videos
    )
    return replace(dataset, videos=tuple(videos))


@dataclass(frozen=True)
class ImportSummary:
    """What an import did."""

    spec: FeatureSpec
    new: int  # Videos that were imported.
    kept: int  # Videos that were in the store already.
    snippets: int  # Of the new videos.
    failed: tuple[str, ...]  # The reason for each other video, in the order of the lists.


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
    fails does not stop the others. What is in the store is only imported again if ``fresh``.
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
    """What a check of feature files found."""

    videos: int  # In the lists.
    complete: int  # Videos without faults.
    files: int  # That were checked, audio features included.
    unlisted: int  # ``.npy`` files that no list names.
    shorter_sound: int  # Videos whose last visual row is dropped, because the audio ends earlier.
    faults: Mapping[FaultKind, tuple[Fault, ...]]  # In the order of the kinds and of the videos.

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
    """Check all feature files of a published data set, in ``folder`` or anywhere below.

    ``dim`` of visual features is by default as its authors have it. With ``contents``, files are
    read, to check that all numbers are finite; else only their headers.
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
    unlisted = folders.picture.count_unlisted((v.path.stem for v in dataset.videos), layout)
    by_kind = {kind: tuple(some) for kind, some in faults.items() if some}
    return FeatureFindings(len(dataset), complete, files, unlisted, shorter, by_kind)


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
