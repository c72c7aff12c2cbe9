"""Secrets of sinks, from a file or the environment: a command line is visible to other users."""

from __future__ import annotations

import os
from pathlib import Path

from oddframe._utils.files import read_bytes
from oddframe.errors import UsageError

_MAX_BYTES = 4096


def read_secret(source: str) -> str:
    """A secret from ``env:NAME`` or else from the file of this path; a last line feed is dropped.

    Raises:
        UsageError: the variable is not set, or the secret is empty or no UTF-8.
        InputError: the file cannot be read.
    """
    if source.startswith("env:"):
        secret = os.environ.get(source[4:], "")
    else:
        try:
            secret = read_bytes(Path(source), _MAX_BYTES).decode().rstrip("\r\n")
        except UnicodeDecodeError:
            raise UsageError(f"{source}: a secret has to be text in UTF-8") from None
    if not secret:
        raise UsageError(f"{source}: no secret in there; write it into a file, or set env:NAME")
    return secret
