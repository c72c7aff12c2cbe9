"""Reads YAML files of settings and describes their errors in one line with file and line number."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from oddframe._utils.files import read_bytes
from oddframe.errors import UsageError, nearest_name

_MAX_BYTES = 256 * 2**10
_MAX_DEPTH = 16  # Of nested lists and mappings.
_MAX_VALUES = 10_000
# What PyYAML raises for values that do not match their tags, such as ``!!bool x``.
_VALUE_ERRORS = (ValueError, ArithmeticError, KeyError, AttributeError, TypeError)


def read_yaml(path: Path, what: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """Read the keys and values of a YAML file, and its nodes for line numbers.

    Args:
        path: The file; an empty one has no keys.
        what: Kind of file for error messages: ``a configuration``.

    Raises:
        UsageError: the file cannot be read, is not a YAML mapping, is too large or too deep, has a
            duplicate key, or has aliases, a few lines of which can expand to billions of values.
    """
    data = read_bytes(path, _MAX_BYTES, UsageError)
    try:
        text = data.decode("utf-8-sig")
        _check_yaml(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_keys(path, node)
        values = None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read as {what} ({error})") from None
    except (yaml.YAMLError, *_VALUE_ERRORS) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"{path}: {what} is keys and values, not a {type(values).__name__}")
    return values or {}, node


def _check_yaml(path: Path, text: str) -> None:
    """Reject text that would take much time or memory to load."""
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
        if depth > _MAX_DEPTH or count > _MAX_VALUES:
            raise UsageError(
                f"{path}, line {line}: at most {_MAX_VALUES:,} values, {_MAX_DEPTH} deep"
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

    Args:
        error: The exception that pydantic raised.
        model: The model that was validated.
        prefix: Keys that lead from the whole configuration to ``model``.
        where: Name of the configuration for the message.
        node: The YAML node of the whole configuration, for line numbers; None: not from YAML.
    """
    first = error.errors()[0]
    loc = first["loc"]
    name = ".".join(map(_printable, (*prefix, *loc)))
    line = _line_of(node, (*prefix, *loc))
    place = where if line is None else f"{where}, line {line}"
    if first["type"] != "extra_forbidden":
        return f"{place}: {name or 'the whole'}: {first['msg']}, not {first['input']!r:.60}"
    known = _keys_at(model, loc[:-1])
    near = nearest_name(str(loc[-1]), known)
    advice = f"did you mean '{near}'?" if near else f"known here: {', '.join(known)}"
    return f"{place}: unknown key '{name}'; {advice}"


def _printable(key: str | int) -> str:
    """A key with its line breaks and other control characters escaped."""
    text = str(key)
    return text if text.isprintable() else repr(text)[1:-1]


def _keys_at(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for part in loc:
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
