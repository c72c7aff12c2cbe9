"""Attaches published features to the videos of a data set: from a folder, or imported ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from oddframe._utils.files import exists, is_dir
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.published import Fault, FeatureFolder, NpyFiles, UnusableFeatures
from oddframe.features.presets import PublishedLayout
from oddframe.features.store.imports import imported_file, imported_specs
from oddframe.features.store.store import FeatureStore


def attach_features(
    dataset: Dataset,
    store: FeatureStore,
    features: str | Path | None = None,
    sound: Path | None = None,
) -> Dataset:
    """Set ``precomputed`` of each video; no features are read yet.

    A data set without published features is returned as it is.

    Args:
        dataset: The data set.
        store: The feature store with imported features.
        features: A folder of feature files, or the kind of imported features (``i3d``,
            ``i3d+vggish``). None: use the videos if their files exist, else the imported features
            if there is one kind of them.
        sound: A folder of audio features, to be joined to those of the folder ``features``.

    Raises:
        UsageError: the data set has no published features, none were imported, or several kinds
            were and ``features`` does not choose one.
        InputError: a folder cannot be listed, or has no features of this data set.
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
    """List the folders with a data set's feature files.

    Raises:
        UsageError: no features of this data set are published, or no audio features.
        InputError: a folder cannot be listed.
    """
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
