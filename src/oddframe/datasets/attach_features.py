"""Where the features of a published data set lie: in a folder, or imported into the store."""

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
    """The data set with what is known of where its features lie; nothing is read yet.

    Args:
        dataset: As ``open_dataset`` gives it; one whose features are not published stays as it is.
        store: Where imported features are.
        features: A folder of feature files, or the kind that was imported (``i3d``,
            ``i3d+vggish``); None: the videos, where their files are there, else the one kind that
            was imported.
        sound: A folder of features of the sound, to go beside those of ``features``.

    Raises:
        UsageError: there are no published features of such a data set, none were imported, or
            several and it is not said which.
        InputError: a folder cannot be listed, or holds nothing of this data set.
    """
    if dataset.layout is None and features is None and sound is None:
        return dataset
    if features is not None and (dataset.layout is None or is_dir(Path(features))):
        return _attach_from_folder(dataset, Path(features), sound)
    if sound is not None:
        raise UsageError("--sound goes beside the features of a folder: say --features DIR")
    if features is None and any(exists(video.path) for video in dataset.videos):
        return dataset
    return _attach_imported(dataset, store, features)


@dataclass(frozen=True)
class FeatureFolders:
    """Folders with the feature files of a data set; ``sound`` is None if it is not wanted."""

    layout: PublishedLayout
    picture: FeatureFolder
    sound: FeatureFolder | None

    def of(
        self, video: LabelledVideo, dim: int | None = None
    ) -> tuple[NpyFiles | None, list[Fault]]:
        """A video's files and what is wrong with their names, as ``FeatureFolder.of``."""
        return self.picture.of(video.path.stem, self.layout, sound=self.sound, dim=dim)


def scan_feature_folders(
    dataset: Dataset, features: Path, sound: Path | None = None
) -> FeatureFolders:
    """Look through the folders with a data set's feature files.

    Raises:
        UsageError: no features of this data set are published, or none of the sound.
        InputError: a folder cannot be listed.
    """
    if dataset.layout is None:
        raise UsageError(f"{dataset.name} has no published features; leave --features away")
    if sound is not None and not dataset.layout.audio_dim:
        raise UsageError(f"{dataset.name} has no features of the sound; leave --sound away")
    heard = None if sound is None else FeatureFolder.scan(sound)
    return FeatureFolders(dataset.layout, FeatureFolder.scan(features), heard)


def no_features_error(dataset: Dataset, folder: Path) -> InputError:
    """Says that a folder holds nothing of a data set that can be used."""
    return InputError(
        f"{folder}: no complete features of any video of {dataset.name}; "
        f"oddframe data check {dataset.name} --data DIR --features {folder} says what is there"
    )


def _attach_from_folder(dataset: Dataset, folder: Path, sound: Path | None) -> Dataset:
    folders = scan_feature_folders(dataset, folder, sound)
    videos, complete = [], 0
    for video in dataset.videos:
        files, faults = folders.of(video)
        complete += files is not None
        videos.append(replace(video, precomputed=files or UnusableFeatures(str(faults[0]))))
    if not complete:
        raise no_features_error(dataset, folder)
    return replace(dataset, videos=tuple(videos))


def _attach_imported(dataset: Dataset, store: FeatureStore, kind: str | Path | None) -> Dataset:
    kinds = imported_specs(store, dataset.name)
    there = ", ".join(kinds) or "none"
    if kind is not None and str(kind) not in kinds:
        raise UsageError(
            f"--features {kind}: no such folder, and not what was imported of {dataset.name} into "
            f"{store.root}: {there}"
        )
    if not kinds:
        raise UsageError(
            f"{dataset.name}: its videos are not here, and no features of it are in {store.root}; "
            f"say --features DIR, or once: oddframe import features DIR --dataset {dataset.name} "
            "--data DIR"
        )
    if kind is None and len(kinds) > 1:
        raise UsageError(f"{dataset.name}: say which of its features: --features {there}")
    spec = kinds[str(kind)] if kind is not None else next(iter(kinds.values()))
    videos = (
        replace(video, precomputed=imported_file(store, dataset.name, video.path.stem, spec))
        for video in dataset.videos
    )
    return replace(dataset, videos=tuple(videos))
