"""Train weakly supervised methods that are fitted at once, without optimiser steps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from oddframe.errors import InputError, UsageError
from oddframe.methods.base import ClosedForm
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo, feature_dim
from oddframe.training.step import FitResult, score_spread


def fit_closed_form(
    videos: Sequence[TrainingVideo], config: TrainConfig, device: str | torch.device = "cpu"
) -> FitResult:
    """Fit a ``ClosedForm`` method. The result depends on the features alone, not on a seed.

    InputError if a class has no videos, or features differ in length or are not finite.
    """
    method, method_config = config.chosen_method()
    if not isinstance(method, ClosedForm):
        raise UsageError(f"the method {config.method.name} is trained by steps")
    abnormal = np.array([video.abnormal for video in videos], dtype=np.bool_)
    for label, name in ((False, "normal"), (True, "abnormal")):
        if not (abnormal == label).any():
            raise InputError(f"no {name} videos to train on")
    dim = feature_dim(videos)
    views = [view for video in videos for view in video.views]
    if not all(np.isfinite(view).all() for view in views):
        raise InputError("features of a video are not finite; extract them again")
    standardise = Standardise.fit(views) if config.standardise else Standardise.identity(dim)
    mean, deviation = standardise.mean, standardise.std
    network = method.network(dim, method_config)
    rows = [[(v - mean.numpy()) / deviation.numpy() for v in video.views] for video in videos]
    method.fit_videos(network, rows, abnormal, method_config, mean=mean, deviation=deviation)
    fitted = ModelNetwork(standardise, network).to(device).eval()
    return FitResult(fitted, score_spread(fitted, videos))
