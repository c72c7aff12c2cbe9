"""Inside a trained UR-DMU: how long its latents are, and how its memories' slots are used.

Section 3.4 of the paper says that latents of what is odd are longer than those of what is normal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.methods.scorer import ModelNetwork
from oddframe.methods.shared.mil import top_k_indices
from oddframe.methods.urdmu.config import UrDmuConfig
from oddframe.methods.urdmu.network import Memory, UrDmuNetwork, UrDmuWithShortcut
from oddframe.research.splice import Spliced
from oddframe.timeline import FloatArray


@dataclass(frozen=True)
class Inside:
    """What is inside a network on the test videos of one part.

    Attributes:
        lengths: (N,) L2 norm of each snippet's fused latent, the mean over its crops; of tiles that
            of the oddest one.
        odd: (N,) whether at least half of the snippet's frames are odd.
        video_lengths: (V,) as in the distance loss: norm of the mean latent of the snippets that
            stand for a video, in abnormal ones of the anomaly memory's read-out, in normal ones of
            the normal memory's.
        video_odd: (V,) whether the video is abnormal.
        usage: By memory, (2, M) how much each slot answers, mean over normal and over odd snippets.
        margin: Of the distance loss.
    """

    lengths: FloatArray
    odd: NDArray[np.bool_]
    video_lengths: FloatArray
    video_odd: NDArray[np.bool_]
    usage: dict[str, FloatArray]
    margin: float


def look_inside(model: ModelNetwork, config: BaseModel, videos: Iterable[Spliced]) -> Inside:
    """Look at every snippet of the videos with a network of that config.

    Raises:
        UsageError: it is no whole UR-DMU: both memories and the uncertainty are needed.
    """
    if not isinstance(config, UrDmuConfig):
        raise UsageError("only UR-DMU has latents and memories to look into")
    whole = _whole(model)
    seen = [(video, _snippets(model, whole, config, video)) for video in videos]
    odd = np.concatenate([_odd(video) for video, _ in seen])
    weights = {
        name: np.concatenate([each.weights[name] for _, each in seen])
        for name in ("anomaly memory", "normal memory")
    }
    return Inside(
        lengths=np.concatenate([each.lengths for _, each in seen]),
        odd=odd,
        video_lengths=np.array(
            [each.of_odd if video.abnormal else each.of_normal for video, each in seen]
        ),
        video_odd=np.array([video.abnormal for video, _ in seen]),
        usage={
            name: np.stack([_mean(each[~odd]), _mean(each[odd])]) for name, each in weights.items()
        },
        margin=config.distance_margin,
    )


@dataclass(frozen=True)
class _Snippets:
    lengths: FloatArray  # (T,)
    weights: dict[str, FloatArray]  # (T, M) each
    of_odd: float
    of_normal: float


class _Whole(NamedTuple):
    network: UrDmuNetwork
    anomaly: Memory
    normal: Memory
    encoder: nn.Module


def _whole(model: ModelNetwork) -> _Whole:
    network = model.network.base if isinstance(model.network, UrDmuWithShortcut) else model.network
    if (
        not isinstance(network, UrDmuNetwork)
        or network.Amemory is None
        or network.Nmemory is None
        or network.encoder_mu is None
    ):
        raise UsageError("only UR-DMU with both memories and its uncertainty can be looked into")
    return _Whole(network, network.Amemory, network.Nmemory, network.encoder_mu)


def _snippets(model: ModelNetwork, whole: _Whole, config: UrDmuConfig, video: Spliced) -> _Snippets:
    """(C, T, D) of one video: the crops as a batch; tiles in one row, as in training."""
    array = torch.from_numpy(np.asarray(video.array, dtype=np.float32))
    crops, length, _ = array.shape
    tiled = video.clips[0].tiled
    with torch.inference_mode():
        x = model.standardise(array)
        if tiled:
            x = x.reshape(1, crops * length, -1)
        scores = model.network(x).scores
        hidden = whole.network(x, torch.ones(len(x))).hidden
        anomaly, normal = whole.anomaly(hidden), whole.normal(hidden)
        of_anomaly, of_normal = whole.encoder(anomaly.value), whole.encoder(normal.value)
        k_anomaly, k_normal = config.top_k_sizes(x.shape[1])
        far = _top_length(of_anomaly, anomaly.score, k_anomaly)
        near = _top_length(of_normal, normal.score, k_normal)
        lengths = (of_anomaly + of_normal).norm(dim=-1)

        def kept(values: Tensor) -> FloatArray:
            """(B, ...) of all crops or tiles -> (T, ...)."""
            if tiled:
                oddest = scores.view(crops, length).argmax(0)
                tiles = values.view(crops, length, *values.shape[2:])
                values = tiles[oddest, torch.arange(length)]
            else:
                values = values.mean(0)
            return np.asarray(values.double().numpy())

        weights = {
            "anomaly memory": kept(anomaly.weights),
            "normal memory": kept(normal.weights),
        }
        return _Snippets(kept(lengths), weights, far, near)


def _top_length(latent: Tensor, score: Tensor, k: int) -> float:
    top = top_k_indices(score, k).unsqueeze(-1)
    return float(torch.take_along_dim(latent, top, dim=1).mean(1).norm(dim=-1).mean())


def _odd(video: Spliced) -> NDArray[np.bool_]:
    """(T,) whether at least half of a snippet's frames are odd."""
    found = []
    for clip in video.clips:
        frames = clip.labels[clip.timebase.tick_frames()]
        found += [bool(frames[a:b].mean() >= 0.5) for a, b in clip.timebase.snippet_ticks()]
    return np.array(found, dtype=bool)


def _mean(weights: FloatArray) -> FloatArray:
    """(n, M) -> (M,); nan where there are no snippets."""
    if not len(weights):
        return np.full(weights.shape[1], np.nan)
    mean: FloatArray = weights.mean(0)
    return mean
