"""Chance that several processes share: drawn for a whole batch, of which each takes its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from oddframe.errors import OddframeError

_LIKE: dict[Callable[..., Tensor], Callable[..., Tensor]] = {
    torch.randn_like: torch.randn,
    torch.rand_like: torch.rand,
}


class SharedChance(TorchFunctionMode):
    """Inside, dropout and ``rand(n)_like`` give this process's rows of what one process would draw.

    Networks need not know of it: a tensor has a row a bag (or several in a row), or a row a bag of
    one class.

    Args:
        normal: Normal bags in the whole batch.
        abnormal: Abnormal ones, which follow them.
        my_normal: Which of the normal bags are computed here.
        my_abnormal: Which of the abnormal ones.
    """

    def __init__(self, normal: int, abnormal: int, my_normal: range, my_abnormal: range):
        super().__init__()
        both = [*my_normal, *(normal + i for i in my_abnormal)]
        # By the number of rows: how many the whole batch has, and which of them are here.
        self.rows = {
            len(my_abnormal): (abnormal, list(my_abnormal)),
            len(my_normal): (normal, list(my_normal)),
            len(both): (normal + abnormal, both),
        }
        self.bags = len(both)

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called for every function of torch."""
        kwargs = kwargs or {}
        if func in _LIKE:
            return self._drawn(args[0], _LIKE[func])
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        return func(*args, **kwargs)

    def _drawn(self, like: Tensor, draw: Callable[..., Tensor]) -> Tensor:
        n = len(like)
        several = 1 if n in self.rows else n // self.bags
        if several * self.bags != n and n not in self.rows:
            raise OddframeError(
                f"chance for {n} rows cannot be shared by several processes, each of which has "
                f"{self.bags} bags: train in one process"
            )
        whole, mine = self.rows[n // several]
        shape = (whole, several, *like.shape[1:])
        drawn = draw(shape, dtype=like.dtype, device=like.device)
        return drawn[mine].reshape(like.shape)

    def _dropout(
        self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
    ) -> Tensor:
        if not training or p == 0:
            return x
        if inplace:
            raise OddframeError("dropout in place cannot be shared by several processes")

        def draw(shape: tuple[int, ...], **kind: Any) -> Tensor:
            return F.dropout(torch.ones(shape, **kind), p, training=True)

        return x * self._drawn(x, draw)
