"""The scale of scores that are no probabilities: where normal snippets lie on them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# Scores of the median and of the 99th of a hundred normal snippets.
_USUAL, _EDGE = 0.1, 0.5
# The score rises with this power of the measure, whatever the normal snippets say.
_SLOPES = (1.0, 12.0)
# Where a measure is nothing, there is no logarithm.
_LEAST = 1e-6


class OnNormalScale(nn.Module):
    """A network whose own measure of oddness, at least 0, has no upper end.

    Its scores are the sigmoid of ``slope`` ln(measure / edge): they rise with the measure, so that
    the order of snippets, AUC and AP stay, and are a half at the edge of what is normal. Until it
    is calibrated the measure is compared with 1.
    """

    edge: Tensor  # () measure whose score is a half
    slope: Tensor  # ()

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("edge", torch.ones(()))
        self.register_buffer("slope", torch.ones(()))

    def scaled(self, log_measure: Tensor) -> Tensor:
        """Logits of ln(measure), of any shape."""
        return self.slope * (log_measure - self.edge.log())

    def calibrate(self, measures: Tensor) -> None:
        """Set the scale by ``measures`` (N,) of normal snippets, N at least 1.

        One in a hundred of them scores above a half, half of them above a tenth. Beyond, the score
        goes on rising with the measure.
        """
        points = torch.tensor([0.5, 0.99], dtype=torch.float64, device=measures.device)
        usual, edge = torch.quantile(measures.double(), points).clamp(min=_LEAST).tolist()
        rise = math.log(_EDGE / (1 - _EDGE)) - math.log(_USUAL / (1 - _USUAL))
        width = math.log(edge / usual)
        low, high = _SLOPES
        self.edge.fill_(edge)
        self.slope.fill_(high if width * high <= rise else max(low, rise / width))
