"""Bags for a method without labels: drawn without reading any label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oddframe.methods.base import Recipe
from oddframe.training.bags import (
    Batch,
    Deck,
    TrainingVideo,
    View,
    bag_of,
    batch_of,
    in_a_row,
    same_view,
)
from oddframe.training.config import BagSection


class UnlabelledBags:
    """As many bags as a recipe's normal and abnormal ones together, each of any video.

    The labels of a batch say where a bag stands in it, and nothing else.
    """

    def __init__(
        self,
        videos: Sequence[TrainingVideo],
        section: BagSection,
        recipe: Recipe,
        rng: np.random.Generator,
    ):
        self.videos, self.section, self.recipe, self.rng = videos, section, recipe, rng
        self.places = [(video, crop) for video in videos for crop in range(len(video.views))]
        self.deck = Deck(len(self.places), recipe.normal_bags + recipe.abnormal_bags, rng)

    def draw(self) -> Batch:
        """The next batch."""
        rows = self._joined() if self.section.mode == "joined" else self._single()
        bags = [bag_of(video, crop, self.recipe.segments) for video, crop in rows]
        return batch_of(bags, self.recipe.normal_bags)

    def _single(self) -> list[tuple[TrainingVideo, int]]:
        """One crop of one video each."""
        return [self.places[i] for i in self.deck.deal()]

    def _joined(self) -> list[tuple[TrainingVideo, int]]:
        """Several videos in a row each."""
        low, high = self.section.clips
        made = []
        for _ in range(self.deck.batch):
            n = int(self.rng.integers(low, high, endpoint=True))
            chosen = self.rng.choice(len(self.videos), n, replace=len(self.videos) < n)
            views: list[View] = same_view([self.videos[i].views for i in chosen], self.rng)
            tiles = self.videos[0].tiles
            row = TrainingVideo((in_a_row(views, tiles),), abnormal=False, tiles=tiles)
            made.append((row, 0))  # The label is not used.
        return made

    def state(self) -> dict[str, Any]:
        """Where the row stands, as JSON types."""
        return {"rng": self.rng.bit_generator.state, "deck": self.deck.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Back to ``state()``."""
        self.rng.bit_generator.state = state["rng"]
        self.deck.restore(state["deck"])
