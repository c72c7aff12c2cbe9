"""What methods share that know normal videos alone: a distance from them, and its scale."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from oddframe.methods.base import Output
from oddframe.methods.shared.crops import averaged, folded

# Scores of the median and of the 99th of a hundred unseen normal snippets.
_USUAL, _EDGE = 0.1, 0.5
# The score rises with this power of the distance, whatever the normal distances say.
_SLOPES = (1.0, 12.0)
# Distances below this share of the edge's are all as near as can be.
_NEAREST = 1e-3


class NormalNetwork(nn.Module, ABC):
    """The distance of snippets from what is normal, as a score."""

    edge: Tensor  # () distance whose score is a half
    slope: Tensor  # () logit = slope ln(distance / edge)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edge", torch.ones(()))
        self.register_buffer("slope", torch.ones(()))

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = folded(features, labels)
        return averaged(self.logits(self.distance(x)), crops)

    @abstractmethod
    def distance(self, features: Tensor) -> Tensor:
        """(..., D) -> (...) how far each snippet is from what is normal, at least 0."""

    @abstractmethod
    def remember(self, snippets: Tensor) -> None:
        """Take normal ``snippets`` (N, D), N at least 1, as what is normal; the same ones in the
        same order give the same network."""

    def logits(self, distances: Tensor) -> Tensor:
        """Logits of distances: they rise with them, and are 0 at the edge."""
        return self.slope * (distances / self.edge).clamp(min=_NEAREST).log()

    def calibrate(self, distances: Tensor) -> None:
        """Set the scale by ``distances`` (N,) of normal snippets that were not remembered.

        One in a hundred of them scores above a half, half of them above a tenth. Beyond, the score
        goes on rising with the distance, so that the order of snippets stays.
        """
        points = torch.tensor([0.5, 0.99], dtype=torch.float64, device=distances.device)
        usual, edge = torch.quantile(distances.double(), points).clamp(min=1e-6).tolist()
        rise = math.log(_EDGE / (1 - _EDGE)) - math.log(_USUAL / (1 - _USUAL))
        width = math.log(edge / usual)
        low, high = _SLOPES
        self.edge.fill_(edge)
        self.slope.fill_(high if width * high <= rise else max(low, rise / width))
