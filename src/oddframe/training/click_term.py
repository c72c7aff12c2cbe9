"""The term that labels in time add to the loss of any method trained by steps.

It reads nothing but snippet scores. GlanceVAD (Zhang et al., 2024, "GlanceVAD: Exploring Glance
Supervision for Label-efficient Video Anomaly Detection") has it for clicks and UR-DMU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from oddframe.methods.base import Loss
from oddframe.training.config import ClickSection
from oddframe.training.data.snippet_labels import BagLabels

# GlanceVAD: the standard deviation in a video of length 2, and the share of a click's score that a
# segment beside it must have to count as a click.
PUBLISHED_SIGMA, PUBLISHED_ALPHA = 0.1, 0.9


@dataclass(frozen=True)
class BatchLabels:
    """``BagLabels`` as tensors (B, S); ``abnormal`` (B,) are the labels of the bags."""

    abnormal: Tensor
    distance: Tensor
    target: Tensor
    known: Tensor
    clicked: Tensor

    @staticmethod
    def of(labels: BagLabels, abnormal: Tensor) -> BatchLabels:
        """The labels on the device of ``abnormal``."""
        return BatchLabels(abnormal, *(torch.from_numpy(x).to(abnormal.device) for x in labels))

    def select(self, rows: Tensor) -> BatchLabels:
        """The labels of some of the bags."""
        parts = (self.abnormal, self.distance, self.target, self.known, self.clicked)
        return BatchLabels(*(part[rows.to(part.device)] for part in parts))


def add_click_term(
    loss: Loss,
    scores: Tensor,
    labels: BatchLabels,
    section: ClickSection,
    weight: float,
    step: int,
) -> Loss:
    """``loss`` with the term ``clicks``.

    Args:
        scores: (B, tiles * S) of the bags; that of a segment is the highest of its tiles.
        labels: Of the same bags.
        section: What the term is.
        weight: Its weight.
        step: Number of the step, from 1.
    """
    tiles = scores.shape[1] // labels.distance.shape[1]
    scores = scores.view(len(scores), tiles, -1).amax(1)
    term = click_term(scores, labels, section, step)
    return Loss(loss.total + weight * term, {**loss.terms, "clicks": term})


def click_term(scores: Tensor, labels: BatchLabels, section: ClickSection, step: int) -> Tensor:
    """The scalar term of ``scores`` (B, S), a mean over the abnormal bags.

    Bags without labels count as 0, so that the mean over parts of a batch is that of the batch.
    """
    abnormal = labels.abnormal > 0.5
    if section.published:
        clicked = labels.clicked[abnormal]
        if step >= section.mining_step:
            clicked = mine_clicks(scores[abnormal].detach(), clicked)
        return F.binary_cross_entropy(scores[abnormal], published_target(clicked).to(scores.dtype))
    near = torch.exp(-0.5 * (labels.distance / section.sigma_s) ** 2)
    clicks = labels.distance.isfinite().any(dim=1, keepdim=True)
    if section.elsewhere == "normal":
        target, weight = near, clicks.to(near.dtype)
    else:
        target, weight = torch.ones_like(near), near
    target = torch.where(labels.known, labels.target, target)
    weight = torch.where(labels.known, 1.0, weight).to(scores.dtype)
    each = F.binary_cross_entropy(scores, target.to(scores.dtype), reduction="none")
    bags = (each * weight).sum(1) / weight.sum(1).clamp(min=1)
    return bags.sum() / abnormal.sum()


def published_target(clicked: Tensor) -> Tensor:
    """(A, S) targets from the segments that are ``clicked`` (A, S), as GlanceVAD renders them.

    Around each click a Gaussian over the positions h(i) = 2 (i - 1) / (S - 1) - 1, brought to
    [0, 1]; the highest of all clicks, brought to [0, 1] again; 0 in a bag without clicks.
    """
    length = clicked.shape[1]
    if length == 1:
        return clicked.float()
    h = 2 * torch.arange(length, device=clicked.device, dtype=torch.float32) / (length - 1)
    weights = _to_unit_range(torch.exp(-((h[:, None] - h) ** 2) / (2 * PUBLISHED_SIGMA**2)))
    targets = [
        _to_unit_range(weights[row].amax(0)) if row.any() else torch.zeros_like(h)
        for row in clicked
    ]
    return torch.stack(targets)


def _to_unit_range(x: Tensor) -> Tensor:
    low, high = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
    return torch.where(high > low, (x - low) / (high - low), x)


def mine_clicks(scores: Tensor, clicked: Tensor) -> Tensor:
    """``clicked`` (A, S), widened to segments beside a click that score nearly as high.

    From a click on to either side, up to the next one, as long as scores are at least 0.9 of the
    click's own. As in the published code, the way to the right ends before the last segment.
    """
    widened, length = clicked.clone().cpu(), clicked.shape[1]
    rows = scores.cpu()
    for row, marks, out in zip(rows, clicked.cpu(), widened, strict=True):
        places = marks.nonzero()[:, 0].tolist()
        least = PUBLISHED_ALPHA * row
        for place, before, after in zip(
            places, [-1, *places], [*places[1:], length - 1], strict=False
        ):
            for path in (range(place - 1, before, -1), range(place + 1, after)):
                for other in path:
                    if row[other] < least[place]:
                        break
                    out[other] = True
    return widened.to(clicked.device)
