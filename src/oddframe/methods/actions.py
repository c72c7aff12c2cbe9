"""Scores snippets by the probability of actions that I3D knows, without any training."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from oddframe.backbones.visual.i3d import I3D_FEATURE_DIM, action_layer, kinetics_actions
from oddframe.errors import UsageError, nearest_name
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.head import FloatRows, NumpyHead, identity_tensors, log_softmax
from oddframe.timeline import FloatArray

LOOK_FOR = "look_for"  # In place of the name of a method.
_SMALLEST = 1e-6  # Of probabilities, for their logit.


class ActionConfig(BaseModel):
    """The actions that are looked for."""

    model_config = ConfigDict(frozen=True)

    actions: tuple[str, ...]


class ActionHead(NumpyHead):
    """Scores by the sum of the probabilities of ``actions``, by I3D's own last layer."""

    def __init__(self, actions: tuple[str, ...]) -> None:
        names = [name for name, _ in kinetics_actions()]
        self._columns = sorted(names.index(action) for action in actions)
        self._weight, self._bias = action_layer()
        parameters = self._weight.size + self._bias.size
        super().__init__(identity_tensors(I3D_FEATURE_DIM), parameters, self._sum_logits)

    def action_probabilities(self, array: AnyFeatures) -> FloatArray:
        total: FloatArray = np.zeros(())
        for view in array:
            total = total + self._probabilities(view.astype(np.float32)).astype(np.float64)
        return total / len(array)

    def _probabilities(self, x: FloatRows) -> FloatRows:
        """Features (T, 1024) -> (T, 400) probability of each action of Kinetics-400."""
        return np.exp(log_softmax(x @ self._weight.T + self._bias))

    def _sum_logits(self, x: FloatRows, spacing: float) -> FloatArray:  # noqa: ARG002
        total = self._probabilities(x)[:, self._columns].astype(np.float64).sum(-1)
        total = total.clip(_SMALLEST, 1 - _SMALLEST)
        return np.asarray(np.log(total / (1 - total)))


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
