"""Published feature files into the store, a video at a time, so that an import can be taken up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.placed import Folders, folders_of, nothing_there
from oddframe.errors import InputError
from oddframe.features.header import read_stored_header
from oddframe.features.imports import StoredFile, named_key, note_import, stored_file
from oddframe.features.layout import imported_spec
from oddframe.features.published import NpyFiles
from oddframe.features.spec import FeatureSpec
from oddframe.features.store import FeatureStore

Progress = Callable[[int, int], None]


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
    progress: Progress | None = None,
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
    folders = folders_of(dataset, folder, sound)
    layout = folders.layout
    dim = _usual_length(dataset, folders)
    spec = imported_spec(dim, layout.crops, layout.sound_dim if sound is not None else 0)
    note_import(store, dataset.name, spec)
    failed: list[str] = []
    new = kept = snippets = 0
    for done, video in enumerate(dataset.videos, start=1):
        place = stored_file(store, dataset.name, video.path.stem, spec)
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


def _usual_length(dataset: Dataset, folders: Folders) -> int:
    """The length of features that most videos have."""
    lengths: Counter[int] = Counter()
    for video in dataset.videos:
        files, _ = folders.picture.of(video.path.stem, folders.layout)
        seen = None if files is None else files.look()
        if seen is not None and not seen.faults:
            lengths[seen.shape[2]] += 1
    if not lengths:
        raise nothing_there(dataset, folders.picture.root)
    return lengths.most_common(1)[0][0]


def _is_there(place: StoredFile, spec: FeatureSpec) -> bool:
    try:
        return read_stored_header(place.path).spec == spec
    except InputError:
        return False


def _put(files: NpyFiles, dataset: Dataset, video: LabelledVideo, store: FeatureStore) -> int:
    """Import one video; its snippets."""
    features = files.open()
    try:
        store.put(named_key(dataset.name, video.path.stem), features)
    except InputError:  # The store's file is not what is wrong.
        raise InputError(f"{files.files[0]}: holds NaN or infinite numbers in some crop") from None
    return features.timebase.n_snippets
