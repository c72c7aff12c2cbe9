"""What comes out of training, and whether it says anything at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from oddframe.methods.scorer import ModelNetwork
from oddframe.training.data.samplers import TrainingVideo

# Scores that differ by less over the whole training set say nothing of any video.
COLLAPSED = 1e-3


@dataclass(frozen=True)
class FitResult:
    """A trained network and what was noticed.

    Attributes:
        network: In evaluation mode, on the device that it was trained on.
        spread: Highest minus lowest snippet score over the training videos, or over as many of
            them as show that it is ``COLLAPSED`` at least.
        resumed_at: Steps that were taken over from a checkpoint; 0: none.
        warnings: Lines for a person to read.
    """

    network: ModelNetwork
    spread: float
    resumed_at: int
    warnings: tuple[str, ...]


def score_spread(network: ModelNetwork, videos: Sequence[TrainingVideo]) -> float:
    """Highest minus lowest snippet score over the first views of ``videos``.

    Stops once it is ``COLLAPSED`` or more, mostly after the first videos.
    """
    device = network.standardise.mean.device
    low, high = np.inf, -np.inf
    with torch.inference_mode():
        for video in videos:
            scores = network(first_view(video, device))
            low, high = min(low, float(scores.min())), max(high, float(scores.max()))
            if high - low >= COLLAPSED:
                break
    return high - low


def first_view(video: TrainingVideo, device: torch.device) -> Tensor:
    """(1, T, D) features of a video's first view; a copy, for those on disk cannot be lent."""
    return torch.from_numpy(np.array(video.views[0], dtype=np.float32))[None].to(device)
