"""Parses JSON, YAML and the headers of safetensors from untrusted files, within limits.

Length, depth and all numbers of a header are checked before anything is allocated.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from pydantic import BaseModel, ValidationError

from oddframe._utils.files import read_bytes
from oddframe.errors import UsageError, nearest_name

# Bytes of a safetensors header: a model card has a line for each training video.
_MAX_HEADER_BYTES = 16 * 2**20
_MAX_JSON_DEPTH = 32  # Of nested lists and dictionaries.
_MAX_AXES = 8
_MAX_TENSORS = 100_000
_DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
_MAX_YAML_BYTES = 256 * 2**10
_MAX_YAML_DEPTH = 16  # Of nested lists and mappings.
_MAX_YAML_VALUES = 10_000
# What PyYAML raises for values that do not match their tags, such as ``!!bool x``.
_VALUE_ERRORS = (ValueError, ArithmeticError, KeyError, AttributeError, TypeError)


@dataclass(frozen=True)
class TensorEntry:
    """A tensor in a safetensors header whose bytes are all in the file."""

    dtype: str  # As safetensors writes it: ``F32``.
    shape: tuple[int, ...]
    start: int  # Offset from the start of the file.
    end: int


def parse_json(data: str | bytes) -> Any:
    """Parse JSON; ValueError if it is invalid, nested too deep, or has a duplicate key."""
    with suppress(RecursionError):
        found = json.loads(data, object_pairs_hook=_reject_duplicate_keys)
        level = [found]
        for _ in range(_MAX_JSON_DEPTH):
            nested = [each for each in level if isinstance(each, dict | list)]
            level = [*chain(*(e.values() if isinstance(e, dict) else e for e in nested))]
            if not level:
                return found
    raise ValueError(f"its JSON is nested more than {_MAX_JSON_DEPTH} deep")


def read_tensor_header(
    file: BinaryIO, size: int, max_bytes: int = _MAX_HEADER_BYTES
) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Read tensors by name, and metadata, of a safetensors file that is open at its start.

    ValueError if it is truncated, longer than its tensors, or its header is too long or invalid.
    ``size`` is that of the file, ``max_bytes`` the limit of its header.
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


def read_yaml(path: Path, what: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """Read the keys and values of a YAML file, and its nodes for line numbers.

    UsageError if it cannot be read, is not a mapping, is too large or deep, or has a duplicate key.
    ``what`` names the kind of file in messages: ``a configuration``.
    """
    data = read_bytes(path, _MAX_YAML_BYTES, UsageError)
    try:
        text = data.decode("utf-8-sig")
        _check_yaml(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_keys(path, node)
        values = None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read as {what} ({error})") from None
    except yaml.MarkedYAMLError as error:  # As a text it quotes the file, which may hold secrets.
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: not YAML ({error.problem})") from None
    except (yaml.YAMLError, *_VALUE_ERRORS) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"{path}: {what} is keys and values, not a {type(values).__name__}")
    return values or {}, node


def _check_yaml(path: Path, text: str) -> None:
    """Reject text that would take much time or memory: few aliases can expand to billions."""
    depth = count = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise UsageError(f"{path}, line {line}: no anchors and aliases; write the values out")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        if depth > _MAX_YAML_DEPTH or count > _MAX_YAML_VALUES:
            raise UsageError(
                f"{path}, line {line}: at most {_MAX_YAML_VALUES:,} values, {_MAX_YAML_DEPTH} deep"
            )


def _check_keys(path: Path, node: yaml.Node | None) -> None:
    remaining = [node]
    while remaining:
        each = remaining.pop()
        if isinstance(each, yaml.SequenceNode):
            remaining += each.value
        if isinstance(each, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in each.value:
                name = str(key.value)
                if name in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"{path}, line {line}: the key '{name:.60}' is there twice")
                seen.add(name)
                remaining.append(value)


def format_validation_error(
    error: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str, ...],
    where: str = "configuration",
    node: yaml.Node | None = None,
) -> str:
    """Describe the first error of a pydantic validation in one line.

    ``prefix`` are the keys that lead from the whole configuration to ``model``; ``where`` names the
    whole, and ``node`` is its YAML node, for line numbers.
    """
    first = error.errors()[0]
    loc = first["loc"]
    keys = map(str, (*prefix, *loc))  # Line breaks and other control characters are escaped.
    name = ".".join(key if key.isprintable() else repr(key)[1:-1] for key in keys)
    line = _line_of(node, (*prefix, *loc))
    place = where if line is None else f"{where}, line {line}"
    if first["type"] != "extra_forbidden":
        return f"{place}: {name or 'the whole'}: {first['msg']}, not {first['input']!r:.60}"
    known = _keys_at(model, loc[:-1])
    near = nearest_name(str(loc[-1]), known)
    advice = f"did you mean '{near}'?" if near else f"known here: {', '.join(known)}"
    return f"{place}: unknown key '{name}'; {advice}"


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for part in loc:
        if str(part) not in model.model_fields:  # A key of a mapping, or a number in a list.
            continue
        inner = model.model_fields[str(part)].annotation
        options = [inner, *getattr(inner, "__args__", ())]
        model = next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
    return sorted(model.model_fields)


def _line_of(node: yaml.Node | None, loc: Sequence[str | int]) -> int | None:
    line: int | None = None
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line + 1, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):  # The missing element.
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
