"""A training configuration as a ``Trainer``: what ``oddframe train`` does, under a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from oddframe.experiments.protocol import Bag, Scorer, Trainer
from oddframe.features.lazy import AnyFeatures, FeatureArray, Views
from oddframe.methods.scorer import ModelNetwork
from oddframe.timeline import FloatArray
from oddframe.training.bags import TrainingVideo, View
from oddframe.training.config import TrainConfig
from oddframe.training.fitted import Fitted
from oddframe.training.log import OnStep
from oddframe.training.loop import OnNetwork, fit


def method_trainer(config: TrainConfig, spacing: float = 1.0) -> Trainer:
    """Trains ``config``'s method with its recipe on the bags that the protocol hands out.

    ``spacing``: of the snippets that are scored, over those of the profile ``best``.
    """

    def train(bags: Sequence[Bag], seed: int) -> Scorer:
        network = fitted(bags, config, seed).network
        return scorer_of(network, tiled=bags[0].tiles > 1, spacing=spacing)

    return train


def fitted(
    bags: Sequence[Bag],
    config: TrainConfig,
    seed: int,
    *,
    device: str | torch.device = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 100,
    on_step: OnStep | None = None,
    on_network: OnNetwork | None = None,
    network_every: int = 10,
) -> Fitted:
    """Train on bags with ``seed`` in place of the config's; the rest as ``fit``.

    A bag's crops are its views; tiles are instances of one bag.
    """
    n = config.full_recipe().segments
    videos = [
        TrainingVideo(_as_float32(bag.views), bag.abnormal, bag.tiles, _cut_before(bag, n))
        for bag in bags
    ]
    return fit(
        videos,
        config.with_recipe(seed=seed),
        device=device,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        on_step=on_step,
        on_network=on_network,
        network_every=network_every,
    )


def scorer_of(network: ModelNetwork, *, tiled: bool, spacing: float = 1.0) -> Scorer:
    """A network's scores: the mean over the crops; of tiles the highest."""

    def score(array: AnyFeatures) -> FloatArray:
        if tiled:
            highest: FloatArray = network.score_tiles(np.asarray(array), spacing).max(axis=0)
            return highest
        return network.score_views(array, spacing)

    return score


def _as_float32(views: Sequence[FeatureArray]) -> Sequence[View]:
    """Views as training takes them; those on disk are so already, and stay there."""
    return (
        views
        if isinstance(views, Views)
        else tuple(v.astype(np.float32, copy=False) for v in views)
    )


def _cut_before(bag: Bag, n: int) -> Sequence[View] | None:
    """Its bags, if they are of so many segments."""
    if bag.bags is None or len(bag.bags[0]) != n:
        return None
    return _as_float32(bag.bags)
