"""From normal videos alone to a detector of what is unusual beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from oddframe.errors import InputError, UsageError
from oddframe.methods.normality import Normality, NormalityConfig, NormalityNetwork
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.training.bags import TrainingVideo
from oddframe.training.config import MethodSection, TrainConfig
from oddframe.training.fitted import COLLAPSED, Fitted

# More snippets are thinned out evenly: some three hours of video at 16 frames a snippet, 15 a
# second, and a minute's work.
MOST_SNIPPETS = 10_000
# Each part of the videos is measured by a memory of the others, to set the scale of the scores.
_FOLDS = 5


def normal_only(config: TrainConfig) -> TrainConfig:
    """``config`` with the method that needs no abnormal video; all else as it was."""
    if config.method.name == Normality.name:
        return config
    return config.model_copy(update={"method": MethodSection(name=Normality.name, config={})})


def fit_normal(
    videos: Sequence[TrainingVideo], config: TrainConfig, *, device: str | torch.device = "cpu"
) -> Fitted:
    """Remember what is normal: a detector of the unusual, without one abnormal video.

    Nothing is left to chance, and the order of the videos does not matter. The scale of the scores
    is set on snippets of videos that the memory had not seen: one normal snippet in a hundred
    scores above a half.

    Args:
        videos: Features; abnormal videos are left aside. A video that is there twice counts once.
        config: The method ``normality`` with its settings (see ``normal_only``), and whether
            features are standardised; steps, bags and seed mean nothing here.
        device: Where the network is in the end.

    Raises:
        UsageError: the configuration is of another method.
        InputError: no normal videos, only one snippet, features of different lengths or not finite.
    """
    method, method_config = config.chosen_method()
    if not isinstance(method, Normality) or not isinstance(method_config, NormalityConfig):
        raise UsageError(
            f"the method {config.method.name} needs abnormal videos too; for normal video alone "
            f"set method.name to {Normality.name}"
        )
    normal = _each_once([video for video in videos if not video.abnormal])
    _check(normal)
    views = [view for video in normal for view in video.views]
    dim = views[0].shape[1]
    standardise = Standardise.fitted(views) if config.standardise else Standardise.identity(dim)
    snippets, folds = _snippets(normal)
    with torch.inference_mode():
        x = standardise(snippets)
        network = method.network(dim, method_config)
        unseen = _unseen_distances(x, folds, method_config)
        network.remember(x)
        network.calibrate(unseen)
        scores = network.logits(unseen).sigmoid()
    whole = ModelNetwork(standardise, network).to(device).eval()
    found = float(scores.max() - scores.min())
    return Fitted(whole, found, 0, tuple(_warnings(videos, normal, found)))


def _each_once(videos: Sequence[TrainingVideo]) -> list[TrainingVideo]:
    """By the digest of their features, so that their order does not matter."""
    by_digest = {}
    for video in videos:
        digest = hashlib.sha256()
        for view in video.views:
            digest.update(f"{view.shape}".encode() + view.tobytes())
        by_digest[digest.hexdigest()] = video
    return [by_digest[key] for key in sorted(by_digest)]


def _check(normal: Sequence[TrainingVideo]) -> None:
    if not normal:
        raise InputError("no normal videos to train on")
    views = [view for video in normal for view in video.views]
    if len(dims := {view.shape[1] for view in views}) > 1:
        raise InputError(f"features of different lengths cannot be trained on: {sorted(dims)}")
    if len(normal) == 1 and max(len(view) for view in views) < 2:
        raise InputError("one snippet of normal video does not say what is normal; give more video")
    if not all(np.isfinite(view).all() for view in views):
        raise InputError("features of a normal video are not finite; extract them again")


def _snippets(normal: Sequence[TrainingVideo]) -> tuple[Tensor, Tensor]:
    """All snippets (N, D), thinned out to ``MOST_SNIPPETS``, and the fold of each (N,)."""
    rows = np.concatenate([view for video in normal for view in video.views]).astype(np.float32)
    if len(normal) == 1:  # Parts of the one video, in time.
        fold = np.concatenate([np.arange(len(v)) * _FOLDS // len(v) for v in normal[0].views])
    else:
        lengths = [sum(len(view) for view in video.views) for video in normal]
        fold = np.repeat(np.arange(len(normal)) % _FOLDS, lengths)
    kept = np.linspace(0, len(rows) - 1, min(len(rows), MOST_SNIPPETS)).round().astype(np.int64)
    return torch.from_numpy(rows[kept]), torch.from_numpy(fold[kept])


def _unseen_distances(x: Tensor, folds: Tensor, config: NormalityConfig) -> Tensor:
    """(N,) distances of the snippets to memories of the other folds."""
    found = []
    for fold in sorted(set(folds.tolist())):
        inside = folds == fold
        others = NormalityNetwork(x.shape[1], config)
        others.remember(x[~inside])
        found.append(others.distance(x[inside]))
    return torch.cat(found)


def _warnings(
    videos: Sequence[TrainingVideo], normal: Sequence[TrainingVideo], found: float
) -> list[str]:
    lines = []
    if aside := sum(video.abnormal for video in videos):
        lines.append(f"{Normality.name} looks at normal videos alone: {aside} abnormal left aside")
    if len(normal) == 1:
        lines.append(
            "what is normal stands on one video: what changes from day to day will look odd; "
            "add video of other hours"
        )
    if found < COLLAPSED:
        lines.append(
            "every normal snippet looks the same (are the videos black or frozen?): any change "
            "will look odd"
        )
    return lines
