"""Records as JSON files of a kind and a version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from oddframe.errors import InputError
from oddframe.files import opened

Record = TypeVar("Record")


def read_record(
    path: Path, what: str, kind: str, schema: int, make: Callable[[dict[str, Any]], Record]
) -> Record:
    """A record, made of what stands in its file beside kind and version.

    Args:
        path: The file.
        what: What it is the record of, as the error says it.
        kind: Its kind.
        schema: Its version.
        make: Makes it of JSON types.

    Raises:
        InputError: no such file, or not one of these.
    """
    try:
        with opened(path) as file:
            data = json.loads(file.read())
        if (data.pop("kind"), data.pop("schema")) != (kind, schema):
            raise ValueError("of another kind or version")
        return make(data)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not the record of {what} ({error})") from None
