"""Writes the features of a store as files that are named after the videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from oddframe._utils.files import unique_stems
from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.errors import InputError
from oddframe.features.extraction.file_layout import (
    output_names,
    refuse_unknown_files,
    write_feature_files,
)
from oddframe.features.spec import Features
from oddframe.features.store.imports import StoredFeatures
from oddframe.features.store.index import choose_spec, open_index
from oddframe.features.store.manifest import read_video_names

ExportFormat = Literal["npy", "safetensors", "parquet"]


@dataclass(frozen=True)
class ExportSummary:
    """What an export did.

    Attributes:
        videos: Number of videos that were written.
        files: Number of files that were written.
        failed: The reason for each other video.
    """

    videos: int
    files: int
    failed: tuple[str, ...]


def export_features(
    store: Path,
    out: Path,
    spec: str | None = None,
    format: ExportFormat = "npy",
    progress: ProgressCallback = ignore_progress,
) -> ExportSummary:
    """Write the features of one spec of a store into a folder.

    A video that the store's manifest does not name is named by the sha256 of its content. Damaged
    files are skipped, and so are videos whose name is in use by a file with other contents.

    Args:
        store: The store.
        out: The folder; created if needed.
        spec: Start of the hash of the spec; None: the only one.
        format: ``npy``: an array a crop, as published; ``safetensors``: a feature file a video;
            ``parquet``: a table a video, with a row for each snippet.
        progress: Called with (videos done, videos in all).

    Raises:
        InputError: there is no such store, or it is empty.
        UsageError: no spec or several specs match ``spec``.
        OddframeError: a file cannot be written.
    """
    index = open_index(store)
    chosen = choose_spec(store, index.specs(), spec)
    known = read_video_names(store)
    entries = list(index.all(chosen.hash))
    paths = [known.get(entry.content, Path(entry.content)) for entry in entries]
    files, failed = 0, list[str]()
    for done, (entry, path, stem) in enumerate(
        zip(entries, paths, unique_stems(paths), strict=True), start=1
    ):
        progress(done, len(entries), f"writing {len(entries)} videos")
        try:
            features = StoredFeatures(store / entry.file).open_checked()
            names, write = _writer(features, stem, format, path)
            refuse_unknown_files(out, names, write)
        except InputError as error:
            failed.append(str(error))
            continue
        write(out)
        files += len(names)
    return ExportSummary(len(entries) - len(failed), files, tuple(failed))


def _writer(
    features: Features, stem: str, format: ExportFormat, video: Path
) -> tuple[list[str], Callable[[Path], object]]:
    """Names of the files, and the function that writes them into a folder."""
    if format == "parquet":
        from oddframe.features.store.parquet import write_parquet

        name = f"{stem}.parquet"
        return [name], lambda folder: write_parquet(folder / name, features, str(video))
    names = output_names(features.spec, stem, format, alone=True)
    return names, partial(write_feature_files, features, stem=stem, format=format)
