"""Write the loss terms of every training step: as JSON lines and, if wanted, for TensorBoard."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from oddframe._utils.files import exists, open_regular_file
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.base import Loss

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


OnStep = Callable[[int, int, Loss], None]
"""Called after a step with (steps done, steps in all, loss)."""


class StepLog:
    """Writes a JSON line for each step; a resumed training keeps the lines it had written.

    Args:
        path: The file; None: nothing is written.
        steps_done: Number of lines to keep. Lines that a killed training wrote after its last
            checkpoint are removed.
        attempt: Number of the attempt, written in every line of the second.
    """

    def __init__(self, path: Path | None, steps_done: int, attempt: int = 1):
        self.attempt = {} if attempt == 1 else {"attempt": attempt}
        self.file = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not exists(path):
                path.touch()
            with open_regular_file(path, OddframeError) as old:
                kept = sum(map(len, islice(old, steps_done)))
            # Truncated, not rewritten: a process that is killed here loses nothing.
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


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "TensorBoard is not installed: pip install 'oddframe[tensorboard]'; the loss terms are "
            "in the run's .log.jsonl in any case"
        )


class TensorBoardLog:
    """Writes ``loss/total`` and ``loss/<term>`` of every step for TensorBoard.

    Args:
        folder: Log folder; None: nothing is written.
        steps_done: Steps that a resumed training had taken. Later ones that a killed training wrote
            are hidden.
    """

    def __init__(self, folder: Path | None, steps_done: int):
        self.writer: SummaryWriter | None = None
        if folder is not None:
            require_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def __enter__(self) -> TensorBoardLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.writer is not None:
            self.writer.close()

    def write(self, step: int, loss: Loss) -> None:
        """Write the terms of one step."""
        if self.writer is None:
            return
        for name, term in {"total": loss.total, **loss.terms}.items():
            self.writer.add_scalar(f"loss/{name}", float(term.detach()), step)
