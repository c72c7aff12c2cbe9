"""The log of a training run: JSON lines, one a step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from oddframe.errors import OddframeError
from oddframe.files import exists, opened
from oddframe.methods.base import Loss

OnStep = Callable[[int, int, Loss], None]
"""Told (steps done, steps in all, loss) after a step."""


class StepLog:
    """Writes a JSON line a step; a resumed run keeps what it had logged before.

    Args:
        path: The file; None: nothing is written.
        steps_done: Lines that stay; what a killed run wrote after its last checkpoint goes.
        attempt: Stands in every line where it is not the first.
    """

    def __init__(self, path: Path | None, steps_done: int, attempt: int = 1):
        self.attempt = {} if attempt == 1 else {"attempt": attempt}
        self.file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not exists(path):
                path.touch()
            with opened(path, OddframeError) as old:
                kept = sum(map(len, islice(old, steps_done)))
            # Cut, not written anew: a process that is killed here loses nothing.
            os.truncate(path, kept)
            self.file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Callable[[int, Loss], None]:
        return self._write

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def _write(self, step: int, loss: Loss) -> None:
        if self.file is not None:
            terms = {name: float(term) for name, term in loss.terms.items()}
            row = {"step": step, "loss": float(loss.total.detach()), **terms, **self.attempt}
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
