"""Smoothing of scores along time, after the network: on probabilities, given and returned as
logits, so that scores of nearly 1 stay apart."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Smoothing = Literal["none", "slide", "fixed"]


class Spaced(nn.Module):
    """A network that smooths over a length of time, however densely a video is looked at.

    Its ``forward(features, labels=None, spacing=1.0)`` is told in scoring how many times as long
    the step from snippet to snippet is as in the profile ``best``: 5, and what it counts in
    snippets of ``best`` is a fifth as many.
    """


def smoothed(logits: Tensor, how: Smoothing, width: int) -> Tensor:
    """Logits (B, T) of the smoothed probabilities.

    ``slide``: the mean of a snippet and the ``width - 1`` after it. ``fixed``: every ``width``
    snippets get their mean. Either way there are scores of 0 beyond the end.
    """
    if how == "none":
        return logits
    length = logits.shape[1]
    beyond = width - 1 if how == "slide" else -length % width
    padded = F.pad(logits, (0, beyond), value=-torch.inf)
    if how == "slide":
        return _logit_of_mean(padded.unfold(1, width, 1))
    means = _logit_of_mean(padded.view(len(logits), -1, width))
    return means.repeat_interleave(width, dim=1)[:, :length]


def _logit_of_mean(logits: Tensor) -> Tensor:
    """(..., k) -> (...) log(p / (1 - p)) of p, the mean of k probabilities."""
    return F.logsigmoid(logits).logsumexp(-1) - F.logsigmoid(-logits).logsumexp(-1)


def blurred(logits: Tensor, deviation: float) -> Tensor:
    """Logits (B, T), each the mean of its neighbours by a Gaussian of ``deviation`` snippets.

    At either end over what is there.
    """
    if not deviation:
        return logits
    reach = math.ceil(4 * deviation)
    apart = torch.arange(-reach, reach + 1, dtype=logits.dtype, device=logits.device)
    kernel = torch.exp(-0.5 * (apart / deviation) ** 2)[None, None]
    summed = F.conv1d(logits[:, None], kernel, padding=reach)
    weight = F.conv1d(torch.ones_like(logits[:1, None]), kernel, padding=reach)
    return (summed / weight)[:, 0]
