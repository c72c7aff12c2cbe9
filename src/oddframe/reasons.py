"""Why a snippet has its score: the training clips that it looks like, the memory slots that answer,
the likeliest actions. The highest few of each are kept for every snippet of a track."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oddframe.backbones.visual.i3d import kinetics_actions
from oddframe.prototypes import PrototypeBank
from oddframe.timeline import IntArray, LikelyAction, MemorySlot, Reasons

_COUNT = 3  # Clips, slots and actions that an event names.
_LIKELY = 0.05  # Less likely actions are not named.


@dataclass(frozen=True)
class Highest:
    """The highest values of each of T snippets, (T, K), and their columns."""

    columns: IntArray
    values: NDArray[np.float32]

    @classmethod
    def of(cls, values: NDArray[np.floating[Any]]) -> Highest:
        """Of values (T, N)."""
        columns = np.argsort(-values, axis=1, kind="stable")[:, :_COUNT]
        return cls(columns, np.take_along_axis(values, columns, axis=1).astype(np.float32))

    def at(self, snippet: int) -> list[tuple[int, float]]:
        """Columns and values, the highest first."""
        pairs = zip(self.columns[snippet].tolist(), self.values[snippet].tolist(), strict=True)
        return list(pairs)


@dataclass(frozen=True)
class TrackReasons:
    """The reasons of each snippet; None: the model says nothing of that kind."""

    bank: PrototypeBank | None = None
    similar: Highest | None = None  # Columns are those of the bank.
    # Columns are the slots of the anomaly memory, then those of the normal one.
    slots: Highest | None = None
    anomaly_slots: int = 0
    actions: Highest | None = None

    def at(self, snippet: int) -> Reasons:
        """The reasons of one snippet."""
        similar: list[tuple[int, float]] = []
        if self.similar is not None:
            similar = self.similar.at(snippet)
        slots = [] if self.slots is None else self.slots.at(snippet)
        actions = [] if self.actions is None else self.actions.at(snippet)
        return Reasons(
            tuple(self.bank.clip(n, value) for n, value in similar) if self.bank else (),
            tuple(self._slot(n, value) for n, value in slots),
            tuple(
                LikelyAction(kinetics_actions()[n][0], value)
                for n, value in actions
                if value >= _LIKELY
            ),
        )

    def _slot(self, column: int, share: float) -> MemorySlot:
        if column < self.anomaly_slots:
            return MemorySlot("abnormal", column, share)
        return MemorySlot("normal", column - self.anomaly_slots, share)
