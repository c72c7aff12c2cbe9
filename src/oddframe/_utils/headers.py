"""JSON and safetensors headers of files from any source, checked before they are used.

A header is a claim. Its length, its depth and every count in it are held against limits and against
the size of the file before anything is allocated or looped over.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

# Bytes of a safetensors header: a model's card has a line for each video that it learned from.
MAX_HEADER_BYTES = 16 * 2**20
# Lists and dictionaries inside each other.
MAX_JSON_DEPTH = 32
# Axes of a tensor, and tensors of a file.
_MOST_AXES = 8
_MOST_TENSORS = 100_000
_SIZES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}


@dataclass(frozen=True)
class TensorEntry:
    """What a safetensors header says of a tensor; its bytes are all in the file.

    Attributes:
        dtype: As safetensors names it, ``F32``.
        shape: Its shape.
        start: Where its bytes start, from the start of the file.
        end: Where they end.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def parse_json(data: str | bytes, max_depth: int = MAX_JSON_DEPTH) -> Any:
    """Parse JSON of an untrusted file, with a limit on its depth.

    Raises:
        ValueError: no JSON, lists and dictionaries more than ``depth`` deep, or one key twice.
    """
    try:
        found = json.loads(data, object_pairs_hook=_unique)
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
    """Tensors by name, and the metadata, of a safetensors file that is open at its start.

    Args:
        file: The file; no more than its header is read.
        size: Of the file, bytes.
        max_bytes: Bytes that its header may have.

    Raises:
        ValueError: no safetensors file, one that is cut off or goes on behind its tensors, or one
            whose header is too long or claims what cannot be.
        OSError: it cannot be read.
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > size - 8:
        raise ValueError("it is cut off, or no safetensors file")
    if length > max_bytes:
        raise ValueError(f"its header has {length:,} bytes; at most {max_bytes:,} are read")
    about = parse_json(file.read(length))
    if not isinstance(about, dict):
        raise ValueError("its header is no JSON object")
    metadata = about.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not texts by name")
    if len(about) > _MOST_TENSORS:
        raise ValueError(f"it claims {len(about)} tensors; at most {_MOST_TENSORS} are read")
    tensors = {name: _tensor(name, each, 8 + length, size) for name, each in about.items()}
    if sum(each.end - each.start for each in tensors.values()) != size - 8 - length:
        raise ValueError("its tensors are not all that is in the file")
    return tensors, metadata


def _tensor(name: str, about: Any, offset: int, size: int) -> TensorEntry:
    dtype = about.get("dtype") if isinstance(about, Mapping) else None
    if not isinstance(dtype, str) or dtype not in _SIZES:
        raise ValueError(f"its tensor {name!r:.80} is of no known type")
    shape, place = _counts(about.get("shape")), _counts(about.get("data_offsets"))
    if shape is None or len(shape) > _MOST_AXES or place is None or len(place) != 2:
        raise ValueError(f"its tensor {name!r:.80} has no shape or no place in the file")
    start, end = place
    if math.prod(shape) * _SIZES[dtype] != end - start:
        raise ValueError(f"its tensor {name!r:.80} has another size than its shape")
    if offset + end > size:
        raise ValueError("it is cut off")
    return TensorEntry(dtype, shape, offset + start, offset + end)


def _counts(values: Any) -> tuple[int, ...] | None:
    """A list of whole numbers from 0 on that fit into 63 bits; None: it is something else."""
    if isinstance(values, list) and all(type(v) is int and 0 <= v < 2**63 for v in values):
        return tuple(values)
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("its JSON has one key twice")
    return found
