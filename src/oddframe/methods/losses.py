"""Multiple-instance learning: selecting the snippets of a bag, and losses on their scores."""

from __future__ import annotations

from torch import Tensor, arange
from torch.nn import functional as F

from oddframe.errors import UsageError


def split_by_label(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the normal and of the abnormal bags, by their ``labels`` (B,). UsageError if there
    are none of a kind."""
    normal, abnormal = (labels < 0.5).nonzero()[:, 0], (labels >= 0.5).nonzero()[:, 0]
    if not len(normal) or not len(abnormal):
        raise UsageError("this loss needs normal and abnormal videos in every batch")
    return normal, abnormal


def pair_up(normal: Tensor, abnormal: Tensor) -> tuple[Tensor, Tensor]:
    """Pair the i-th rows of both; the shorter one is repeated."""
    pairs = arange(max(len(normal), len(abnormal)), device=normal.device)
    return normal[pairs % len(normal)], abnormal[pairs % len(abnormal)]


def top_k_size(length: int) -> int:
    """k = T // 16 + 1 for bags of ``length`` T snippets, as most methods define it."""
    return length // 16 + 1


def top_k_indices(scores: Tensor, k: int) -> Tensor:
    """Indices (B, min(k, T)) of the highest of ``scores`` (B, T)."""
    return scores.topk(min(k, scores.shape[1]), dim=1).indices


def mean_at(values: Tensor, index: Tensor) -> Tensor:
    """Mean of ``values`` (B, T) or (B, T, H) over the snippets ``index`` (B, k)."""
    index = index if values.ndim == 2 else index.unsqueeze(-1)
    return values.take_along_dim(index, dim=1).mean(1)


def top_k_mean(scores: Tensor, k: int) -> Tensor:
    """(B, T) -> (B,) mean of the k highest."""
    return mean_at(scores, top_k_indices(scores, k))


def max_window_mean(scores: Tensor, length: int) -> Tensor:
    """(B, T) -> (B,) highest mean of ``length`` consecutive snippets, at most T."""
    return scores.unfold(1, length, 1).mean(-1).amax(1)


def top_k_bce(scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of the mean top k = T // 16 + 1 scores (B, T) and the labels (B,)."""
    top = top_k_mean(scores, top_k_size(scores.shape[1]))
    return F.binary_cross_entropy(top, labels.to(top.dtype))


def ranking_loss(abnormal: Tensor, normal: Tensor, margin: float = 1.0) -> Tensor:
    """Mean of max(0, margin - a + n) over all pairs of bag scores a (A,) and n (N,)."""
    return F.relu(margin - abnormal[:, None] + normal[None, :]).mean()


def smoothness(scores: Tensor) -> Tensor:
    """(..., T) -> (...) sum of (s_i - s_{i+1})^2."""
    return scores.diff(dim=-1).square().sum(-1)


def sparsity(scores: Tensor) -> Tensor:
    """(..., T) -> (...) sum of the scores, which are at least 0."""
    return scores.sum(-1)
