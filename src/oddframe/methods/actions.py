"""Scores snippets by the probability of actions that I3D knows, without any training."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from oddframe.backbones.visual.i3d import ActionClassifier, kinetics_actions
from oddframe.errors import UsageError, nearest_name
from oddframe.methods.base import BagNetwork, Output

LOOK_FOR = "look_for"  # In place of the name of a method.
_SMALLEST = 1e-6  # Of probabilities, for their logit.


class ActionConfig(BaseModel):
    """The actions that are looked for."""

    model_config = ConfigDict(frozen=True)

    actions: tuple[str, ...]


class ActionNetwork(BagNetwork):
    """The sum of the probabilities of ``actions``, by I3D's own last layer."""

    def __init__(self, actions: tuple[str, ...]) -> None:
        super().__init__()
        names = [name for name, _ in kinetics_actions()]
        self.columns = sorted(names.index(action) for action in actions)
        self.classifier = ActionClassifier()
        self.classifier.load_shipped()

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        total = self.probabilities(x)[..., self.columns].double().sum(-1)
        return Output.from_logits(torch.logit(total, eps=_SMALLEST))

    def probabilities(self, x: Tensor) -> Tensor:
        """Features (..., 1024) -> (..., 400) probability of each action of Kinetics-400."""
        found: Tensor = self.classifier(x).exp()
        return found


def find_actions(names: list[str]) -> tuple[str, ...]:
    """The actions of Kinetics-400 of these names, in any case; UsageError for others."""
    known = {name.casefold(): name for name, _ in kinetics_actions()}
    found = []
    for name in names:
        action = known.get(name.strip().casefold())
        if action is None:
            near = nearest_name(name, known.values())
            advice = (
                f"did you mean '{near}'?" if near else "docs/score.md says where its 400 are listed"
            )
            raise UsageError(f"I3D knows no action '{name}'; {advice}")
        found.append(action)
    if not found:
        raise UsageError("--look-for names no action")
    return tuple(dict.fromkeys(found))
