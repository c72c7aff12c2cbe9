"""Where the features of a published data set lie: in a folder, or imported into the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError, UsageError
from oddframe.features.folder import FeatureFolder
from oddframe.features.imports import imported_kinds, stored_file
from oddframe.features.published import Unusable
from oddframe.features.store import FeatureStore


def with_features(
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
    if dataset.layout is None:
        if features is not None or sound is not None:
            raise UsageError(f"{dataset.name} has no published features; leave --features away")
        return dataset
    if features is not None and Path(features).is_dir():
        return _in_folder(dataset, Path(features), sound)
    if sound is not None:
        raise UsageError("--sound goes beside the features of a folder: say --features DIR")
    if features is None and any(video.path.exists() for video in dataset.videos):
        return dataset
    return _imported(dataset, store, features)


def _in_folder(dataset: Dataset, folder: Path, sound: Path | None) -> Dataset:
    assert dataset.layout is not None
    if sound is not None and not dataset.layout.sound_dim:
        raise UsageError(f"{dataset.name} has no features of the sound; leave --sound away")
    found = FeatureFolder.scan(folder)
    heard = None if sound is None else FeatureFolder.scan(sound)
    videos, complete = [], 0
    for video in dataset.videos:
        files, faults = found.of(video.path.stem, dataset.layout, sound=heard)
        complete += files is not None
        videos.append(replace(video, made=files or Unusable(str(faults[0]))))
    if not complete:
        raise InputError(
            f"{folder}: no complete features of any video of {dataset.name}; "
            f"oddframe data check {dataset.name} --lists DIR --features {folder} says what is there"
        )
    return replace(dataset, videos=tuple(videos))


def _imported(dataset: Dataset, store: FeatureStore, kind: str | Path | None) -> Dataset:
    kinds = imported_kinds(store, dataset.name)
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
            "--lists DIR"
        )
    if kind is None and len(kinds) > 1:
        raise UsageError(f"{dataset.name}: say which of its features: --features {there}")
    spec = kinds[str(kind)] if kind is not None else next(iter(kinds.values()))
    videos = (
        replace(video, made=stored_file(store, dataset.name, video.path.stem, spec))
        for video in dataset.videos
    )
    return replace(dataset, videos=tuple(videos))
