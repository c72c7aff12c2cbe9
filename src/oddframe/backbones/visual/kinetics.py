"""The 400 actions of Kinetics, and I3D's classifier of them.

I3D was trained to name one of 400 human actions (Kay et al., "The Kinetics Human Action Video
Dataset", 2017). Its last layer is linear, so the logits of the actions follow from a snippet's
feature at no cost.
"""

from __future__ import annotations

import csv
from functools import cache

import torch
from torch import Tensor, nn

from oddframe.backbones.visual.i3d import I3D_RGB
from oddframe.backbones.visual.i3d_network import I3D_FEATURE_DIM, KINETICS_CLASSES, read_i3d
from oddframe.backbones.weights import SHIPPED_WEIGHTS

# Group of the actions in which one person attacks another.
FIGHTING = "fighting"


@cache
def kinetics_actions() -> tuple[tuple[str, str], ...]:
    """Name and group of each of the 400 actions, in the order of I3D's logits.

    The groups are ours: sports, dance, riding, and ``fighting``; "" for all other actions.
    """
    with (SHIPPED_WEIGHTS / "kinetics400.csv").open(newline="", encoding="utf-8") as file:
        return tuple((row["action"], row["group"]) for row in csv.DictReader(file))


class ActionClassifier(nn.Module):
    """I3D's last layer: features (..., 1024) to log-probabilities of the actions (..., 400)."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(I3D_FEATURE_DIM, KINETICS_CLASSES).requires_grad_(False)

    def load_shipped(self) -> None:
        """Load the weights of the shipped I3D, of which this is the last layer."""
        layer = read_i3d(I3D_RGB.find_weights()).logits
        with torch.no_grad():
            self.logits.weight.copy_(layer.weight.flatten(1))
            if layer.bias is not None:
                self.logits.bias.copy_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.logits(features)
        return logits.log_softmax(-1)
