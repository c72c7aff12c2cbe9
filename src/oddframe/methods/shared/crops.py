"""Several crops of a video: each goes through the network as a bag of its own."""

from __future__ import annotations

from torch import Tensor

from oddframe.errors import UsageError
from oddframe.methods.base import Output


def folded(features: Tensor, labels: Tensor | None = None) -> tuple[Tensor, int]:
    """(B, C, T, D) -> (B * C, T, D) and C; (B, T, D) as it is and 1.

    Raises:
        UsageError: several crops come with labels; an item of training is one crop.
    """
    if features.ndim == 3:
        return features, 1
    if labels is not None:
        raise UsageError("train on one crop at a time: features (B, T, D), not (B, C, T, D)")
    return features.flatten(0, 1), features.shape[1]


def averaged(logits: Tensor, crops: int) -> Output:
    """Logits (B * C, T) -> the crops' mean scores and mean logits, both (B, T)."""
    logits = logits.view(-1, crops, logits.shape[1])
    return Output(logits.sigmoid().mean(1), logits.mean(1))
