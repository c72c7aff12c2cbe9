"""What is wrong with a YAML file of settings, in one line: where, what, what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import yaml
from pydantic import BaseModel, ValidationError


def explained(
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
    near = difflib.get_close_matches(str(loc[-1]), known, 1, cutoff=0.5)
    advice = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
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
            node = node.value[part]
            line = node.start_mark.line + 1
    return line
