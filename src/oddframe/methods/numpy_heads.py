"""Heads that NumPy runs without a graph: of the methods ``linear``, ``logistic``, ``normality``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from oddframe.backbones.visual.i3d import (
    FIGHTING,
    I3D_FEATURE_DIM,
    KINETICS_CLASSES,
    kinetics_actions,
)
from oddframe.methods.config import MIN_DISTANCE_RATIO, Width
from oddframe.methods.head import FloatRows, NumpyHead, Tensors, common_shapes, log_softmax

# From this probability of another action on, the score falls. In a fifth of the clips of fights in
# Surveillance Fight the mean probability of the likeliest other action is as high.
SURE = 0.25
SMALLEST_PROBABILITY = 1e-6

NUMPY_METHODS = frozenset({"linear", "logistic", "normality"})

Shapes = dict[str, tuple[int, ...]]


_ROWS = 4096  # Snippets whose distances are computed at once, for memory.


class _NormalityFields(BaseModel):
    model_config = ConfigDict(strict=True)

    units: Width = 512
    neighbours: Width = 3


class _LogisticFields(BaseModel):
    model_config = ConfigDict(strict=True)

    look_alikes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


def numpy_head_shapes(
    method: str, config: Mapping[str, Any], dim: int, names: Mapping[str, Any]
) -> Shapes | None:
    """The tensors of the file of a model whose head NumPy runs without a graph; None: there is no
    such head.

    Args:
        method: Name of the method.
        config: Its settings.
        dim: Length of a feature.
        names: What the file holds.

    Raises:
        ValueError: the settings are wrong.
    """
    if method == "normality":
        units = _NormalityFields.model_validate(config).units
        own: Shapes = {
            "network.edge": (),
            "network.slope": (),
            "network.whiten": (dim, dim),
            "network.memory": (units, dim),
            "network.filled": (),
        }
        return common_shapes(dim, names) | own
    if method not in NUMPY_METHODS:
        return None
    own = {"network.score.weight": (1, dim), "network.score.bias": (1,)}
    if method == "logistic" and _LogisticFields.model_validate(config).look_alikes:
        if dim != I3D_FEATURE_DIM:
            raise ValueError(f"look_alikes with features of length {dim}")
        own |= {
            "network.other_action.mean": (dim,),
            "network.other_action.deviation": (dim,),
            "network.other_action.classifier.logits.weight": (KINETICS_CLASSES, dim),
            "network.other_action.classifier.logits.bias": (KINETICS_CLASSES,),
        }
    return common_shapes(dim, names) | own


def numpy_head(method: str, config: Mapping[str, Any], tensors: Tensors) -> NumpyHead:
    """The head of a model with these ``tensors``, whose shapes were checked."""
    if method == "normality":
        return _normality_head(config, tensors)
    weight, bias = tensors["network.score.weight"][0], tensors["network.score.bias"]
    parameters = len(weight) + 1
    look_alikes = _LogisticFields.model_validate(config).look_alikes
    other_action: Callable[[FloatRows], FloatRows] | None = None
    if "network.other_action.mean" in tensors:
        other_action = _other_action(tensors)
        parameters += (len(weight) + 1) * KINETICS_CLASSES

    def logits(x: FloatRows, spacing: float) -> FloatRows:  # noqa: ARG001
        found: FloatRows = x @ weight + bias
        if other_action is not None:
            surplus = np.maximum(other_action(x) - np.float32(math.log(SURE)), np.float32(0))
            found = found - np.float32(look_alikes) * surplus
        return found

    return NumpyHead(tensors, parameters, logits)


def _normality_head(config: Mapping[str, Any], tensors: Tensors) -> NumpyHead:
    """As ``NormalityNetwork``."""
    filled = int(tensors["network.filled"])
    whiten, units = tensors["network.whiten"], tensors["network.memory"][:filled]
    if not 0 < filled <= len(tensors["network.memory"]):
        raise ValueError(f"{filled} units in its memory")
    neighbours = min(_NormalityFields.model_validate(config).neighbours, filled)
    edge, slope = tensors["network.edge"], tensors["network.slope"]
    lowest = np.float32(MIN_DISTANCE_RATIO) * edge

    def logits(x: FloatRows, spacing: float) -> FloatRows:  # noqa: ARG001
        found = np.empty(len(x), np.float32)
        for start in range(0, len(x), _ROWS):
            white = x[start : start + _ROWS] @ whiten
            squares = np.square(white).sum(1)[:, None] + np.square(units).sum(1)
            distances = np.sqrt(np.maximum(squares - 2 * (white @ units.T), 0))
            nearest = np.partition(distances, neighbours - 1, axis=1)[:, :neighbours]
            found[start : start + _ROWS] = nearest.mean(1)
        return np.asarray(slope * (np.log(np.maximum(found, lowest)) - np.log(edge)), np.float32)

    return NumpyHead(tensors, 0, logits)


def _other_action(tensors: Tensors) -> Callable[[FloatRows], FloatRows]:
    """As ``OtherAction`` of the method ``logistic``."""
    mean, deviation, weight, bias = (
        tensors[f"network.other_action.{name}"]
        for name in ("mean", "deviation", "classifier.logits.weight", "classifier.logits.bias")
    )
    groups = other_action_groups()

    def log_probability(x: FloatRows) -> FloatRows:
        found = log_softmax((x * deviation + mean) @ weight.T + bias)
        highest = (np.exp(found) @ groups).max(axis=-1)
        smallest = np.float32(SMALLEST_PROBABILITY)
        return np.asarray(np.log(np.maximum(highest, smallest)), np.float32)

    return log_probability


def other_action_groups() -> NDArray[np.float32]:
    """(400, G) one where an action is in a group: itself, unless it is fighting, or one of similar
    actions."""
    group_of = np.array([group for _, group in kinetics_actions()])
    members = group_of[:, None] == sorted({*group_of} - {"", FIGHTING})
    return np.hstack([np.diag(group_of != FIGHTING), members]).astype(np.float32)
