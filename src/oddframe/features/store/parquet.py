"""Features as Parquet files, one row for each snippet and crop."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from oddframe._utils.files import atomic_write, make_folder, translate_os_errors
from oddframe.errors import UsageError
from oddframe.features.spec import Features

# Rows in memory at once, and in a row group.
_ROWS = 4096


def write_parquet(path: Path, features: Features, video: str) -> None:
    """Write a video's features (C, T, D) as C x T rows, crop by crop.

    Columns: ``video``; ``snippet`` from 0; ``start_s`` and ``end_s`` in seconds; ``crop`` from 0;
    ``feature``, a list of D numbers of the same type as the features (float32 or float16). The
    schema's metadata has ``oddframe.spec`` (JSON, with the names of the crops) and
    ``oddframe.spec_hash``.

    Args:
        path: The file; missing parent folders are created.
        features: The features, in memory or on disk.
        video: Value of the column ``video``.

    Raises:
        UsageError: pyarrow is not installed.
        OddframeError: the file cannot be written.
    """
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
    make_folder(path.parent)
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
