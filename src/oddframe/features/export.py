"""Writes the features of a store as files that are named after the videos."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from oddframe._utils.files import atomic_write, make_folder, translate_os_errors, unique_stems
from oddframe._utils.progress import ProgressCallback, ignore_progress
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.file_layout import (
    output_names,
    refuse_unknown_files,
    write_feature_files,
)
from oddframe.features.formats.feature_file import open_features
from oddframe.features.spec import Features
from oddframe.features.store.index import choose_spec, open_index
from oddframe.features.store.manifest import read_video_names

# Rows in memory at once, and in a row group of a Parquet file.
_ROWS = 4096

ExportFormat = Literal["npy", "safetensors", "parquet"]


@dataclass(frozen=True)
class ExportSummary:
    """How many videos and files were written, and the reason for each other video."""

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
            features = open_features(store / entry.file, verify=True)
            if format == "parquet":
                names = [f"{stem}.parquet"]
                write = partial(write_parquet, features, str(path), names[0])
            else:
                (names,) = output_names([features.spec], stem, format)
                write = partial(write_feature_files, features, names)
            refuse_unknown_files(out, names, write)
        except InputError as error:
            failed.append(str(error))
            continue
        write(out)
        files += len(names)
    return ExportSummary(len(entries) - len(failed), files, tuple(failed))


def write_parquet(features: Features, video: str, name: str, folder: Path) -> None:
    """Write a video's features (C, T, D) as C x T rows, as docs/features.md describes them."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(
            "--format parquet needs pyarrow: pip install 'oddframe[parquet]'"
        ) from None
    spec, array = features.spec, features.array
    _, snippets, dim = array.shape
    value = pa.float16() if array.dtype == np.float16 else pa.float32()
    schema = pa.schema(
        [
            ("video", pa.dictionary(pa.int32(), pa.string())),
            ("snippet", pa.int32()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("crop", pa.int16()),
            ("feature", pa.list_(value, dim)),
        ],
        metadata={
            "oddframe.spec": json.dumps(spec.to_dict(), sort_keys=True),
            "oddframe.spec_hash": spec.hash(),
        },
    )
    times = features.timebase.snippet_times()
    path = folder / name
    make_folder(folder)
    with (
        atomic_write(path) as part,
        translate_os_errors(path),
        pq.ParquetWriter(part, schema) as writer,
    ):
        for number, crop in enumerate(array):
            for first in range(0, snippets, _ROWS):
                rows = np.ascontiguousarray(crop[first : first + _ROWS])
                count = len(rows)
                columns = [
                    pa.array([video] * count).dictionary_encode(),
                    pa.array(np.arange(first, first + count, dtype=np.int32)),
                    pa.array(times[first : first + count, 0]),
                    pa.array(times[first : first + count, 1]),
                    pa.array(np.full(count, number, np.int16)),
                    pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), value), dim),
                ]
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
