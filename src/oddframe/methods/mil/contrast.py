"""Contrastive terms for UR-DMU (ours): the paper's last sentence names them as future work.

Both are InfoNCE (van den Oord et al., "Representation Learning with Contrastive Predictive Coding",
2018, equation 4) of cosines divided by a temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -ln(e^p / (e^p + sum of e^n)) for positives (N,) and their negatives (N, M)."""
    together = torch.cat([positive[:, None], negatives], dim=1)
    return (together.logsumexp(1) - positive).mean()


def memory_contrast(snippets: Tensor, own: Tensor, other: Tensor, temperature: float) -> Tensor:
    """InfoNCE of snippets (N, H) whose positive is the best slot of their ``own`` memory (M, H) and
    whose negatives are the slots of the ``other`` one."""
    x = F.normalize(snippets, dim=-1)
    to_own = x @ F.normalize(own, dim=-1).T / temperature
    to_other = x @ F.normalize(other, dim=-1).T / temperature
    return info_nce(to_own.amax(1), to_other)


def snippet_contrast(abnormal: Tensor, normal: Tensor, temperature: float) -> Tensor:
    """InfoNCE of the likeliest snippets of abnormal videos (A, K, H): the positives of each are
    those of the other abnormal videos (of a single one, its own others), the negatives those of
    normal videos (B, K, H). 0 where nothing is positive."""
    videos, count, _ = abnormal.shape
    x = F.normalize(abnormal.flatten(0, 1), dim=-1)
    among = x @ x.T / temperature
    negatives = x @ F.normalize(normal.flatten(0, 1), dim=-1).T / temperature
    video = torch.arange(videos, device=x.device).repeat_interleave(count)
    is_positive = video[:, None] != video
    if videos == 1:
        is_positive = ~torch.eye(count, dtype=torch.bool, device=x.device)
    anchors, positives = is_positive.nonzero(as_tuple=True)
    if not len(anchors):
        return among.sum() * 0
    return info_nce(among[anchors, positives], negatives[anchors])
