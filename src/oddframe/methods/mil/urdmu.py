"""UR-DMU's loss (classification, dual memory, triplet, KL and distance terms) and recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import Loss, MethodInfo, Recipe, WeaklySupervised
from oddframe.methods.losses import mean_at, pair_up, split_by_label, top_k_indices, top_k_mean
from oddframe.methods.mil.urdmu_network import (
    UrDmuConfig,
    UrDmuNetwork,
    UrDmuOutput,
    UrDmuWithShortcut,
)


def _bce(probability: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(probability, torch.full_like(probability, target))


def _unit(x: Tensor) -> Tensor:
    norm: Tensor = x.norm(dim=-1, keepdim=True)
    return x / norm


def info_nce(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -ln(e^p / (e^p + sum of e^n)) for positives (N,) and their negatives (N, M).

    van den Oord et al., "Representation Learning with Contrastive Predictive Coding", 2018,
    equation 4. The terms made of it are ours: cosines divided by a temperature.
    """
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


def ur_dmu_loss(out: UrDmuOutput, labels: Tensor, config: UrDmuConfig) -> Loss:
    """The loss of B videos with ``labels`` (B,), 0 normal or 1 abnormal, in any order.

    Terms: ``cls``; ``dm``, the sum of ``dm_n_of_normal``, ``dm_a_of_normal``, ``dm_a_of_abnormal``
    and ``dm_n_of_abnormal`` (scores of the normal or anomaly memory in normal or abnormal videos);
    ``trip``; ``kl``; ``dis``; where they have a weight ``contrast_memory`` and
    ``contrast_snippets``. The i-th normal video is paired with the i-th abnormal one; the
    shorter list is repeated. For ablations, terms whose inputs are missing are left out.

    Raises:
        UsageError: there is no normal or no abnormal video.
    """
    normal, abnormal = split_by_label(labels)
    k_anomaly, k_normal = config.top_k_sizes(out.scores.shape[1])
    # Memory scores select the snippets that represent a video; without a memory, scores do.
    n = out.scores if out.normal_score is None else out.normal_score
    a = out.scores if out.anomaly_score is None else out.anomaly_score
    in_normal, in_abnormal = (
        top_k_indices(n[normal], k_normal),
        top_k_indices(a[abnormal], k_anomaly),
    )

    # L_cls: the top-k scores and the video's label.
    top_scores = top_k_mean(out.scores, k_anomaly)
    terms = {"cls": F.binary_cross_entropy(top_scores, labels.to(top_scores.dtype))}

    # L_dm: normal snippets match the normal memory, the top-k of abnormal videos the other one.
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

    # L_trip: normal snippets of abnormal videos are close to those of normal videos, and far from
    # abnormal ones.
    rows = torch.arange(len(labels), device=labels.device)
    normal_of, abnormal_of = pair_up(rows[: len(normal)], rows[: len(abnormal)])
    if out.normal_score is not None and out.anomaly_score is not None:
        anchor = _unit(mean_at(out.hidden[normal], in_normal))[normal_of]
        positive = mean_at(out.hidden[abnormal], top_k_indices(n[abnormal], k_normal))
        negative = mean_at(out.hidden[abnormal], in_abnormal)
        positive, negative = _unit(positive)[abnormal_of], _unit(negative)[abnormal_of]
        terms["trip"] = F.triplet_margin_loss(anchor, positive, negative, config.triplet_margin)

    # L_kl: the latents of normal videos are standard normal.
    if out.normal_z_mu is not None and out.normal_z_logvar is not None:
        mu, logvar = out.normal_z_mu, out.normal_z_logvar
        kl = -0.5 * (1 + logvar - mu**2 - logvar.exp())
        terms["kl"] = (kl.sum(1) if config.kl_over_time == "sum" else kl.mean(1)).mean()

    # L_dis: latents of abnormal snippets have a larger norm than normal ones, by a margin.
    if out.normal_z is not None and out.anomaly_mu is not None:
        power = 2 if config.distance_norm == "squared" else 1
        small = mean_at(out.normal_z, in_normal).norm(dim=-1)[normal_of] ** power
        large = mean_at(out.anomaly_mu[abnormal], in_abnormal).norm(dim=-1)[abnormal_of] ** power
        terms["dis"] = F.relu(config.distance_margin - large + small).mean()

    # Ours: contrastive terms.
    extra = {}
    if config.contrast_memory and out.slots is not None:
        anomaly, normality = out.slots
        likely = out.hidden[abnormal].take_along_dim(in_abnormal.unsqueeze(-1), dim=1)
        extra["contrast_memory"] = (
            memory_contrast(likely.flatten(0, 1), anomaly, normality, config.contrast_temperature)
            + memory_contrast(
                out.hidden[normal].flatten(0, 1), normality, anomaly, config.contrast_temperature
            )
        ) / 2
    if config.contrast_snippets:
        likely, mistaken = (
            out.hidden[videos].take_along_dim(
                top_k_indices(out.scores[videos], k_anomaly).unsqueeze(-1), dim=1
            )
            for videos in (abnormal, normal)
        )
        extra["contrast_snippets"] = snippet_contrast(likely, mistaken, config.contrast_temperature)
    terms |= extra

    weights = [(name, weight) for name, weight in config.loss_weights if weight and name in terms]
    weights += [(name, getattr(config, name)) for name in extra]
    total = torch.stack([weight * terms[name] for name, weight in weights]).sum()
    return Loss(total, terms)


class UrDmu(WeaklySupervised[UrDmuConfig, UrDmuOutput]):
    """Dual memory units with uncertainty regulation (Zhou, Yu, Yang; AAAI 2023)."""

    name = "ur_dmu"
    title = "UR-DMU"
    year = 2023
    info = MethodInfo(
        paper="Zhou, Yu, Yang: Dual Memory Units with Uncertainty Regulation for Weakly Supervised "
        "Video Anomaly Detection, AAAI 2023",
        inputs="snippet features, optionally with 128 audio values",
        checked="parity",
        evidence="scores, intermediates, selections, losses, gradients and three Adam steps of the "
        "published code",
    )
    Config = UrDmuConfig
    click_weight = 0.0  # docs/train.md: labels in time made its scores worse.
    supports_microbatches = True  # Bags are paired by index, and every term is a mean.
    recipe = Recipe(optimiser="adam", lr=1e-4, weight_decay=5e-5, steps=3000, segments=200)

    def network(self, dim: int, config: UrDmuConfig) -> UrDmuNetwork | UrDmuWithShortcut:
        network = UrDmuNetwork(dim, config)
        return UrDmuWithShortcut(dim, network, config.deep_share) if config.shortcut else network

    def splits_batches(self, config: UrDmuConfig) -> bool:
        """Not with ``contrast_snippets``, which compares each video with all others."""
        return not config.contrast_snippets

    def loss(self, output: UrDmuOutput, labels: Tensor, config: UrDmuConfig) -> Loss:
        """See ``ur_dmu_loss``."""
        return ur_dmu_loss(output, labels, config)

    def parameter_groups(self, network: nn.Module, config: UrDmuConfig) -> list[dict[str, Any]]:
        if not isinstance(network, UrDmuWithShortcut):
            return super().parameter_groups(network, config)
        own = {"lr": config.shortcut_lr, "weight_decay": config.shortcut_weight_decay}
        return [
            {"params": list(network.base.parameters())},
            {"params": list(network.shortcut.parameters()), **own},
        ]

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, UrDmuConfig] | None:
        first = state.get("embedding.conv_1.0.weight")
        memories = [state.get(f"{memory}memory.memory_block") for memory in "AN"]
        if first is None or first.ndim != 3 or any(m is None or m.ndim != 2 for m in memories):
            return None
        anomaly, normal = (len(memory) for memory in memories if memory is not None)
        return first.shape[1], UrDmuConfig(anomaly_slots=anomaly, normal_slots=normal)
