"""The loss terms of a training, for TensorBoard: an extra, beside the log of JSON lines."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from oddframe.errors import UsageError
from oddframe.methods.base import Loss

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def check_board() -> None:
    """See that TensorBoard is there.

    Raises:
        UsageError: it is not.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "TensorBoard is not installed: pip install 'oddframe[tensorboard]'; the loss terms are "
            "in the run's .log.jsonl in any case"
        )


class Board:
    """Writes ``loss/total`` and ``loss/<term>`` of every step.

    Args:
        folder: What TensorBoard is pointed at; None: nothing is written.
        steps_done: Steps before; what a killed run wrote of later ones is not shown.
    """

    def __init__(self, folder: Path | None, steps_done: int):
        self.writer: SummaryWriter | None = None
        if folder is not None:
            check_board()
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def __enter__(self) -> Board:
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
        """The terms of one step."""
        if self.writer is None:
            return
        for name, term in {"total": loss.total, **loss.terms}.items():
            self.writer.add_scalar(f"loss/{name}", float(term.detach()), step)
