"""UR-DMU's loss: five terms that pull the two memories, and the latents behind them, apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from oddframe.methods.base import Loss
from oddframe.methods.shared.mil import mean_at, pair_up, split_by_label, top_k_indices, top_k_mean
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.network import UrDmuOutput


def _bce(probability: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(probability, torch.full_like(probability, target))


def _unit(x: Tensor) -> Tensor:
    length: Tensor = x.norm(dim=-1, keepdim=True)
    return x / length


def ur_dmu_loss(out: UrDmuOutput, labels: Tensor, config: UrDmuConfig) -> Loss:
    """The loss of B videos with ``labels`` (B,), 0 normal or 1 abnormal, in any order.

    Terms: ``cls``; ``dm``, the sum of ``dm_n_of_normal``, ``dm_a_of_normal``, ``dm_a_of_abnormal``
    and ``dm_n_of_abnormal`` (the memory's score in the videos); ``trip``; ``kl``; ``dis``. The
    i-th normal video is paired with the i-th abnormal one; where one kind is short, it starts over.
    Of a network without some parts, a term is left out where an input of it is not there.

    Raises:
        UsageError: there is no normal or no abnormal video.
    """
    normal, abnormal = split_by_label(labels)
    k_anomaly, k_normal = config.top_k_sizes(out.scores.shape[1])
    # Where there is no memory to choose the snippets that stand for a video, their scores do.
    n = out.scores if out.normal_score is None else out.normal_score
    a = out.scores if out.anomaly_score is None else out.anomaly_score
    in_normal, in_abnormal = (
        top_k_indices(n[normal], k_normal),
        top_k_indices(a[abnormal], k_anomaly),
    )

    # L_cls: the snippets that look oddest, against the video's label.
    top_scores = top_k_mean(out.scores, k_anomaly)
    terms = {"cls": F.binary_cross_entropy(top_scores, labels.to(top_scores.dtype))}

    # L_dm: normal snippets belong to the normal memory, the oddest of the others do not.
    if out.normal_score is not None:
        terms["dm_n_of_normal"] = _bce(n[normal], 1)
    if out.anomaly_score is not None:
        terms["dm_a_of_normal"] = _bce(a[normal], 0)
        terms["dm_a_of_abnormal"] = _bce(mean_at(a[abnormal], in_abnormal), 1)
    if out.normal_score is not None:
        last = n[abnormal] if config.dm_last == "score" else 1 - n[abnormal]
        terms["dm_n_of_abnormal"] = _bce(mean_at(last, top_k_indices(last, k_normal)), 1)
    if dm := [term for name, term in terms.items() if name.startswith("dm_")]:
        terms["dm"] = torch.stack(dm).sum()

    # L_trip: what is normal in abnormal videos lies by what is normal, not by what is odd.
    rows = torch.arange(len(labels), device=labels.device)
    normal_of, abnormal_of = pair_up(rows[: len(normal)], rows[: len(abnormal)])
    if out.normal_score is not None and out.anomaly_score is not None:
        anchor = _unit(mean_at(out.hidden[normal], in_normal))[normal_of]
        calm = mean_at(out.hidden[abnormal], top_k_indices(n[abnormal], k_normal))
        odd = mean_at(out.hidden[abnormal], in_abnormal)
        positive, negative = _unit(calm)[abnormal_of], _unit(odd)[abnormal_of]
        terms["trip"] = F.triplet_margin_loss(anchor, positive, negative, config.triplet_margin)

    # L_kl: the latent of what is normal is a standard normal one.
    if out.normal_z_mu is not None and out.normal_z_logvar is not None:
        mu, logvar = out.normal_z_mu, out.normal_z_logvar
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp())
        terms["kl"] = (kl.sum(1) if config.kl_over_time == "sum" else kl.mean(1)).mean()

    # L_dis: latents of what is odd are longer than those of what is normal, by a margin.
    if out.normal_z is not None and out.anomaly_mu is not None:
        power = 2 if config.distance_norm == "squared" else 1
        near = mean_at(out.normal_z, in_normal).norm(dim=-1)[normal_of] ** power
        far = mean_at(out.anomaly_mu[abnormal], in_abnormal).norm(dim=-1)[abnormal_of] ** power
        terms["dis"] = F.relu(config.distance_margin - far + near).mean()

    weights = [(name, weight) for name, weight in config.loss_weights if weight and name in terms]
    total = torch.stack([weight * terms[name] for name, weight in weights]).sum()
    return Loss(total, terms)
