"""YAML files of settings, and what is wrong with one in a line: where, what, what was meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from oddframe._utils.files import read_bytes
from oddframe.errors import UsageError, nearest_name

# Bytes of a YAML file, lists and mappings inside each other, and values in it.
_MOST_BYTES = 256 * 2**10
_MOST_DEPTH = 16
_MOST_VALUES = 10_000


# What PyYAML raises of values that do not fit their tags, as ``!!bool x``.
_BAD_VALUES = (ValueError, ArithmeticError, KeyError, AttributeError, TypeError)


def read_yaml(path: Path, what: str) -> tuple[dict[str, Any], yaml.Node | None]:
    """Keys and values of a YAML file, and its nodes, for line numbers.

    Args:
        path: The file; an empty one has no keys.
        what: What it should be, for the error: ``a configuration``.

    Raises:
        UsageError: it cannot be read, is no YAML of keys and values, is too large or too deep, has
            a key twice, or has aliases: a few lines of them unfold to billions of values.
    """
    data = read_bytes(path, _MOST_BYTES, UsageError)
    try:
        text = data.decode("utf-8-sig")
        _check_yaml(path, text)
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _check_keys(path, node)
        values = None if node is None else loader.construct_document(node)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: cannot be read as {what} ({error})") from None
    except (yaml.YAMLError, *_BAD_VALUES) as error:
        raise UsageError(f"{path}: not YAML ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(values or {}, dict):
        raise UsageError(f"{path}: {what} is keys and values, not a {type(values).__name__}")
    return values or {}, node


def _check_yaml(path: Path, text: str) -> None:
    """Refuse what would take much time or memory to load, event by event."""
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
        if depth > _MOST_DEPTH or count > _MOST_VALUES:
            raise UsageError(
                f"{path}, line {line}: at most {_MOST_VALUES:,} values, {_MOST_DEPTH} deep"
            )


def _check_keys(path: Path, node: yaml.Node | None) -> None:
    left = [node]
    while left:
        each = left.pop()
        if isinstance(each, yaml.SequenceNode):
            left += each.value
        if isinstance(each, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in each.value:
                name = str(key.value)
                if name in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"{path}, line {line}: the key '{name:.60}' is there twice")
                seen.add(name)
                left.append(value)


def format_validation_error(
    error: ValidationError,
    model: type[BaseModel],
    prefix: tuple[str, ...],
    where: str = "configuration",
    node: yaml.Node | None = None,
) -> str:
    """The first error of ``model``'s validation in one line.

    Args:
        error: What pydantic raised.
        model: What was validated.
        prefix: Keys that lead from the whole configuration to ``model``.
        where: Name of the configuration, for the reader.
        node: The YAML that it came from, if any, for line numbers.
    """
    first = error.errors()[0]
    loc = first["loc"]
    name = ".".join(str(part) for part in (*prefix, *loc))
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
            if part >= len(node.value):  # It is missing.
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
