"""The log of a training run: JSON lines, one a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from oddframe.methods.base import Loss


class StepLog:
    """Writes a JSON line a step; a resumed run keeps what it had logged before."""

    def __init__(self, path: Path | None, steps_done: int):
        self.path = path
        kept: list[str] = []
        if path is not None:
            if steps_done and path.exists():
                lines = path.read_text().splitlines(keepends=True)
                kept = lines[:steps_done]
            path.parent.mkdir(parents=True, exist_ok=True)
        self.file = None if path is None else path.open("w", encoding="utf-8")
        if self.file is not None:
            self.file.writelines(kept)

    def __enter__(self) -> Callable[[int, Loss], None]:
        return self._write

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    def _write(self, step: int, loss: Loss) -> None:
        if self.file is not None:
            terms = {name: float(term.detach()) for name, term in loss.terms.items()}
            row = {"step": step, "loss": float(loss.total.detach()), **terms}
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
