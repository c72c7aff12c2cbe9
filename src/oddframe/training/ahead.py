"""Bags drawn ahead: while a graphics card computes a step, a thread reads the next batch.

At the published size reading is a thousandth of a step on a processor and 40 % of one on a large
card (benchmarks/RESULTS.md), which would wait for it.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from oddframe.training.bags import Bags, Batch


class Ahead:
    """Draws the batches of ``bags`` one ahead; nothing else may draw from ``bags``.

    ``state()`` excludes the prefetched batch.
    """

    def __init__(self, bags: Bags) -> None:
        self._bags = bags
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bags")
        self._waiting: Future[Batch] | None = None
        self._state: dict[str, Any] | None = None

    def draw(self) -> Batch:
        """See ``Bags.draw``.

        Raises:
            InputError: what ``bags`` raises, when its batch is asked for.
        """
        batch = self._bags.draw() if self._waiting is None else self._waiting.result()
        self._state = self._bags.state()
        self._waiting = self._thread.submit(self._bags.draw)
        return batch

    def state(self) -> dict[str, Any]:
        """See ``Bags.state``."""
        return self._bags.state() if self._state is None else self._state

    def restore(self, state: dict[str, Any]) -> None:
        """See ``Bags.restore``."""
        if self._waiting is not None:
            self._waiting.exception()  # Wait until it ends, and drop its batch.
        self._waiting = self._state = None
        self._bags.restore(state)
