"""Norms of a trained UR-DMU's latents, and how much its memories' slots are used.

Section 3.4 of the paper says that latents of abnormal snippets have larger norms than normal ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor

from oddframe.errors import UsageError
from oddframe.methods.losses import top_k_indices
from oddframe.methods.mil.urdmu_network import UrDmuConfig, UrDmuNetwork, UrDmuWithShortcut
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import roc_auc
from oddframe.research.clips import SplicedVideo
from oddframe.timeline import FloatArray

MEMORIES = ("anomaly memory", "normal memory")


@dataclass(frozen=True)
class MemoryAnalysis:
    """Latents and memories of a network on the test videos of one part.

    Attributes:
        norms: (N,) L2 norm of each snippet's fused latent: the mean over its crops; of tiles, that
            of the tile with the highest score.
        abnormal: (N,) whether at least half of the snippet's frames are abnormal.
        video_norms: (V,) norm of the mean latent of a video's top snippets, as in the distance
            loss: read from the anomaly memory in abnormal videos, the normal memory in normal ones.
        usage: By memory, (2, M) weight of each slot: the mean over normal and abnormal snippets.
        margin: Margin of the distance loss.
    """

    norms: FloatArray
    abnormal: NDArray[np.bool_]
    video_norms: FloatArray
    video_abnormal: NDArray[np.bool_]
    usage: dict[str, FloatArray]
    margin: float

    def __str__(self) -> str:
        """One line: whether the norm tells abnormal snippets from normal ones."""
        abnormal, normal = self.norms[self.abnormal], self.norms[~self.abnormal]
        if not len(abnormal) or not len(normal):
            return "these videos have snippets of one class only"
        auc = roc_auc(self.abnormal, self.norms)
        return (
            f"mean norm of the fused latent: {abnormal.mean():.2f} in {len(abnormal)} abnormal "
            f"snippets, {normal.mean():.2f} in {len(normal)} normal ones; AUC of the norm as a "
            f"score: {100 * auc:.1f}"
        )


def analyse_memories(
    model: ModelNetwork, config: BaseModel, videos: Iterable[SplicedVideo]
) -> MemoryAnalysis:
    """Analyse every snippet; UsageError unless it is UR-DMU with both memories and uncertainty."""
    if not isinstance(config, UrDmuConfig):
        raise UsageError("only UR-DMU has latents and memories to analyse")
    seen = [(video, _analyse_video(model, config, video)) for video in videos]
    abnormal = np.concatenate([_abnormal_snippets(video) for video, _ in seen])
    usage = {}
    for memory in MEMORIES:
        weights = np.concatenate([each.weights[memory] for _, each in seen])
        nothing = np.full(weights.shape[1], np.nan)
        kinds = (weights[~abnormal], weights[abnormal])
        usage[memory] = np.stack([kind.mean(0) if len(kind) else nothing for kind in kinds])
    return MemoryAnalysis(
        norms=np.concatenate([each.norms for _, each in seen]),
        abnormal=abnormal,
        video_norms=np.array(
            [each.anomaly_norm if video.abnormal else each.normal_norm for video, each in seen]
        ),
        video_abnormal=np.array([video.abnormal for video, _ in seen]),
        usage=usage,
        margin=config.distance_margin,
    )


class _VideoAnalysis(NamedTuple):
    norms: FloatArray  # (T,)
    weights: dict[str, FloatArray]  # (T, M) each
    anomaly_norm: float
    normal_norm: float


def _analyse_video(model: ModelNetwork, config: UrDmuConfig, video: SplicedVideo) -> _VideoAnalysis:
    """(C, T, D) of one video: crops are a batch; tiles are one sequence, as in training."""
    network = model.network.base if isinstance(model.network, UrDmuWithShortcut) else model.network
    if (
        not isinstance(network, UrDmuNetwork)
        or network.Amemory is None
        or network.Nmemory is None
        or network.encoder_mu is None
    ):
        raise UsageError("only UR-DMU with both memories and its uncertainty can be analysed")
    array = torch.from_numpy(np.asarray(video.array, dtype=np.float32))
    crops, length, _ = array.shape
    tiled = video.clips[0].tiled
    with torch.inference_mode():
        x = model.standardise(array)
        if tiled:
            x = x.reshape(1, crops * length, -1)
        scores = model.network(x).scores
        hidden = network(x, torch.ones(len(x))).hidden
        anomaly, normal = network.Amemory(hidden), network.Nmemory(hidden)
        anomaly_latent = network.encoder_mu(anomaly.value)
        normal_latent = network.encoder_mu(normal.value)
        k_anomaly, k_normal = config.top_k_sizes(x.shape[1])

        def per_snippet(values: Tensor) -> FloatArray:
            """(B, ...) of all crops or tiles -> (T, ...)."""
            if tiled:
                highest = scores.view(crops, length).argmax(0)
                tiles = values.view(crops, length, *values.shape[2:])
                values = tiles[highest, torch.arange(length)]
            else:
                values = values.mean(0)
            return np.asarray(values.double().numpy())

        return _VideoAnalysis(
            per_snippet((anomaly_latent + normal_latent).norm(dim=-1)),
            dict(zip(MEMORIES, map(per_snippet, (anomaly.weights, normal.weights)), strict=True)),
            _top_norm(anomaly_latent, anomaly.score, k_anomaly),
            _top_norm(normal_latent, normal.score, k_normal),
        )


def _top_norm(latent: Tensor, score: Tensor, k: int) -> float:
    """Norm of the mean latent of the k snippets with the highest score."""
    top = top_k_indices(score, k).unsqueeze(-1)
    return float(torch.take_along_dim(latent, top, dim=1).mean(1).norm(dim=-1).mean())


def _abnormal_snippets(video: SplicedVideo) -> NDArray[np.bool_]:
    """(T,) whether at least half of a snippet's frames are abnormal."""
    found = []
    for clip in video.clips:
        frames = clip.labels[clip.timebase.tick_frames()]
        found += [bool(frames[a:b].mean() >= 0.5) for a, b in clip.timebase.snippet_ticks()]
    return np.array(found, dtype=bool)
