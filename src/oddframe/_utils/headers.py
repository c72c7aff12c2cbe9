"""Reads JSON and safetensors headers of untrusted files.

The length and depth of a header and all numbers in it are compared with limits and with the size of
the file before anything is allocated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

# Bytes of a safetensors header: a model card has a line for each training video.
MAX_HEADER_BYTES = 16 * 2**20
# Depth of nested lists and dictionaries.
MAX_JSON_DEPTH = 32
_MAX_AXES = 8
_MAX_TENSORS = 100_000
_DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a safetensors header whose bytes are all in the file.

    Attributes:
        dtype: Name of the type in safetensors, such as ``F32``.
        shape: Shape of the tensor.
        start: Offset of its first byte from the start of the file.
        end: Offset behind its last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def parse_json(data: str | bytes, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Parse JSON of an untrusted file with a limit on its depth.

    Raises:
        ValueError: invalid JSON, nested more than ``max_depth`` deep, or a duplicate key.
    """
    try:
        found = json.loads(data, object_pairs_hook=_reject_duplicate_keys)
    except RecursionError:
        raise ValueError(f"its JSON is nested more than {max_depth} deep") from None
    level = [found]
    for _ in range(max_depth):
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    raise ValueError(f"its JSON is nested more than {max_depth} deep")


def read_tensor_header(
    file: BinaryIO, size: int, max_bytes: int = MAX_HEADER_BYTES
) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Read the header of a safetensors file that is open at its start.

    Args:
        file: The file; only its header is read.
        size: Size of the file in bytes.
        max_bytes: Largest accepted size of the header in bytes.

    Returns:
        Tensors by name, and the metadata.

    Raises:
        ValueError: not a safetensors file, truncated, longer than its tensors, or with a header
            that is too long or invalid.
        OSError: the file cannot be read.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError("it is cut off, or no safetensors file")
    if length > max_bytes:
        raise ValueError(f"its header has {length:,} bytes; at most {max_bytes:,} are read")
    entries = parse_json(file.read(length))
    if not isinstance(entries, dict):
        raise ValueError("its header is no JSON object")
    metadata = entries.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not texts by name")
    if len(entries) > _MAX_TENSORS:
        raise ValueError(f"it claims {len(entries)} tensors; at most {_MAX_TENSORS} are read")
    tensors = {name: _tensor(name, each, 8 + length, size) for name, each in entries.items()}
    if sum(each.end - each.start for each in tensors.values()) != size - 8 - length:
        raise ValueError("its tensors are not all that is in the file")
    return tensors, metadata


def _tensor(name: str, entry: Any, offset: int, size: int) -> TensorEntry:
    dtype = entry.get("dtype") if isinstance(entry, Mapping) else None
    if not isinstance(dtype, str) or dtype not in _DTYPE_BYTES:
        raise ValueError(f"its tensor {name!r:.80} is of no known type")
    shape, offsets = _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if shape is None or len(shape) > _MAX_AXES or offsets is None or len(offsets) != 2:
        raise ValueError(f"its tensor {name!r:.80} has no shape or no place in the file")
    start, end = offsets
    if math.prod(shape) * _DTYPE_BYTES[dtype] != end - start:
        raise ValueError(f"its tensor {name!r:.80} has another size than its shape")
    if offset + end > size:
        raise ValueError("it is cut off")
    return TensorEntry(dtype, shape, offset + start, offset + end)


def _counts(values: Any) -> tuple[int, ...] | None:
    """The values if they are a list of integers in [0, 2**63), else None."""
    if isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values):
        return tuple(values)
    return None


def _reject_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its JSON has one key twice")
    return found
