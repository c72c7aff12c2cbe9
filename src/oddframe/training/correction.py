"""A small linear correction of a pretrained model, for training on few videos.

With a handful of videos, training all weights on from those of a model can lose more than it gains
(benchmarks/FEW_CLIPS.md). The network then stays as it is, and only a linear function of the
standardised features is added to its logits: the maximum a posteriori estimate of a logistic
regression that has the old logit as its offset, no intercept, and a normal prior around zero. Few
videos hardly move it, more of them move it further.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray

from oddframe._utils.determinism import deterministic
from oddframe.errors import InputError
from oddframe.methods.mil.logistic import minimise_log_loss
from oddframe.methods.scorer import ModelNetwork
from oddframe.timeline import FloatArray
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.step import FitResult, score_spread

# Training on few videos of a class corrects the model; with this many of each, all weights are
# trained.
ENOUGH_VIDEOS = 20
# Weight of the prior for each feature dimension. benchmarks/FEW_CLIPS.md says how it was chosen.
STRENGTH = 1.0
# Share of a view's snippets, those with the highest logits, that represent the video, and the
# smallest number of them. A clip of a few seconds is represented by all its snippets.
_TOP_SHARE, _FEWEST_SNIPPETS = 0.1, 8


def should_correct(config: TrainConfig, abnormal: Sequence[bool]) -> bool:
    """Whether training from a model corrects it; ``abnormal``: each training video's label."""
    method = config.chosen_method()[0]
    if method.needs_abnormal_videos and method.closed_form:
        return True  # It cannot be trained on; with more videos the correction is larger.
    if config.correction != "auto":
        return config.correction == "always"
    if not method.needs_abnormal_videos:
        return False
    return min(sum(abnormal), len(abnormal) - sum(abnormal)) < ENOUGH_VIDEOS


def fit_correction(
    x: FloatArray, offset: FloatArray, abnormal: NDArray[np.bool_], ridge: float
) -> FloatArray:
    """Weights (D,) of the linear function of ``x`` (N, D) that is added to the logits ``offset``.

    They minimise the weighted sum of the videos' log losses plus ``ridge / 2`` times their squared
    norm. The smaller class has weight 1 a video, and the larger one the same total.
    """
    same = np.where(abnormal, abnormal.sum(), (~abnormal).sum())  # Videos of each one's class.
    left, scale, basis = np.linalg.svd(x, full_matrices=False)
    # x = a @ basis, with orthonormal rows: the norm of the weights is the same.
    a, prior = left * scale, np.full(len(scale), ridge)
    weighted: FloatArray = basis.T @ minimise_log_loss(
        a, abnormal, same.min() / same, prior, offset
    )
    return weighted


def correct(
    pretrained: ModelNetwork, videos: Sequence[TrainingVideo], device: str | torch.device = "cpu"
) -> FitResult:
    """A copy of ``pretrained`` with a correction from ``videos``, added to the one it has."""
    abnormal = np.array([video.abnormal for video in videos], dtype=bool)
    if abnormal.all() or not abnormal.any():
        raise InputError("a correction needs normal and abnormal videos")
    network = deepcopy(pretrained).to(device).eval()
    rows = [_summary(network, video) for video in videos]
    x = np.stack([features for features, _ in rows])
    # The prior is for features of mean square 1; those of a model that does not standardise are
    # of any size.
    mean, deviation = network.standardise.mean, network.standardise.std
    standardised = bool((deviation != 1).any() or (mean != 0).any())
    size = 1.0 if standardised else float(np.square(x).mean()) or 1.0
    ridge = STRENGTH * x.shape[1] * size
    found = fit_correction(x, np.array([logit for _, logit in rows]), abnormal, ridge)
    network.add_correction(torch.from_numpy(found).float())
    return FitResult(network, score_spread(network, videos))


def _summary(network: ModelNetwork, video: TrainingVideo) -> tuple[FloatArray, float]:
    """Mean standardised features (D,) and mean logit of the snippets that represent a video."""
    features, logits = [], []
    device = network.standardise.mean.device
    for view in video.views:
        with deterministic(), torch.inference_mode():
            x = torch.from_numpy(np.array(view, dtype=np.float32))[None].to(device)
            z = network.standardise(x)
            found = network.logits(z)[0].double().cpu().numpy()
        length = len(found) // video.tiles
        n = max(round(_TOP_SHARE * length), min(_FEWEST_SNIPPETS, length))
        top = np.sort(np.argsort(-found, kind="stable")[:n])
        features.append(z[0].double().cpu().numpy()[top].mean(axis=0))
        logits.append(found[top].mean())
    return np.mean(features, axis=0), float(np.mean(logits))
