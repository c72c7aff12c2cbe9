"""A training configuration as a ``Trainer``: what ``oddframe train`` does, under a protocol."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from oddframe.experiments.protocol import Bag, Scorer, Trainer
from oddframe.features.lazy import AnyFeatures, FeatureArray, Views
from oddframe.timeline import FloatArray
from oddframe.training.bags import TrainingVideo, View
from oddframe.training.config import TrainConfig
from oddframe.training.loop import fit


def method_trainer(config: TrainConfig) -> Trainer:
    """Trains ``config``'s method with its recipe on the bags that the protocol hands out.

    The protocol's seed is used in place of the config's. A bag's crops are its views in training;
    in scoring, their scores are averaged. Tiles are instances of one bag; in scoring the highest
    counts.
    """

    def train(bags: Sequence[Bag], seed: int) -> Scorer:
        videos = [TrainingVideo(_as_float32(bag.views), bag.abnormal, bag.tiles) for bag in bags]
        tiled = bags[0].tiles > 1
        network = fit(videos, config.with_recipe(seed=seed)).network

        def score(array: AnyFeatures) -> FloatArray:
            if tiled:
                highest: FloatArray = network.score_tiles(np.asarray(array)).max(axis=0)
                return highest
            return network.score_views(array)

        return score

    return train


def _as_float32(views: Sequence[FeatureArray]) -> Sequence[View]:
    """Views as training takes them; those on disk are so already, and stay there."""
    return views if isinstance(views, Views) else tuple(v.astype(np.float32) for v in views)
