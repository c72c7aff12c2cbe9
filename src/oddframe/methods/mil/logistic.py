"""Ridge logistic regression of the mean feature of a clip: for short clips from few cameras.

The label of a clip hardly longer than the event in it says nearly all that labels of snippets
would, and a strong ridge keeps the regression from learning the cameras by heart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.backbones.visual.i3d import (
    I3D_FEATURE_DIM,
    I3D_RGB,
    KINETICS_CLASSES,
    action_layer,
)
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.base import BagNetwork, ClosedForm, Loss, MethodInfo, Output, Recipe
from oddframe.methods.config import AboveZero, MethodConfig, NotNegative
from oddframe.methods.numpy_heads import SMALLEST_PROBABILITY, SURE, other_action_groups
from oddframe.timeline import FloatArray

_MAX_NEWTON_STEPS = 100
_MIN_DEVIATION = 1e-6  # Smaller standard deviations are taken as constant features.


class LogisticConfig(MethodConfig):
    # Half of the squared norm of the weights, of standardised features, counts so many times in the
    # loss, which is summed over the clips.
    ridge: AboveZero = 100.0
    # How fast the logit falls with the logarithm of the probability of another action, above 0.25;
    # 0: not at all. Only for features of the backbone ``i3d``.
    look_alikes: NotNegative = 0.0


class ActionClassifier(nn.Module):
    """I3D's last layer: features (..., 1024) to log-probabilities of the actions (..., 400)."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(I3D_FEATURE_DIM, KINETICS_CLASSES).requires_grad_(False)

    def load_shipped(self) -> None:
        """Load the weights of the shipped I3D."""
        weight, bias = action_layer()
        with torch.no_grad():
            self.logits.weight.copy_(torch.from_numpy(weight))
            self.logits.bias.copy_(torch.from_numpy(bias))

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.logits(features)
        return logits.log_softmax(-1)


class OtherAction(nn.Module):
    """How sure I3D is that a snippet shows a known action that is not fighting.

    That is the highest of the probabilities of the single actions and of the groups of similar
    ones: a game of basketball is divided among dribbling, shooting and dunking.
    """

    groups: Tensor  # (400, G) one where an action is in a group
    mean: Tensor  # (1024,) of the features before they were standardised
    deviation: Tensor  # (1024,) their standard deviation

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(I3D_FEATURE_DIM))
        self.register_buffer("deviation", torch.ones(I3D_FEATURE_DIM))
        self.classifier = ActionClassifier()
        # Follows from the package's table, so a model file need not hold it.
        groups = torch.from_numpy(other_action_groups())
        self.register_buffer("groups", groups, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Standardised features (..., 1024) -> (...) logarithm of the probability."""
        raw = features * self.deviation + self.mean
        probabilities: Tensor = self.classifier(raw).exp() @ self.groups
        return probabilities.amax(-1).clamp_min(SMALLEST_PROBABILITY).log()


class LogisticNetwork(BagNetwork):
    """w x + b, less what speaks for another action."""

    def __init__(self, dim: int, config: LogisticConfig) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)
        self.look_alikes = config.look_alikes
        self.other_action = OtherAction() if config.look_alikes else None
        if self.other_action is not None and dim != I3D_FEATURE_DIM:
            raise UsageError(
                f"look_alikes reads features of i3d, of length {I3D_FEATURE_DIM}, not {dim}: set "
                "method.config.look_alikes to 0"
            )

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        logits = self.score(x).squeeze(-1)
        if self.other_action is not None:
            logits = logits - self.look_alikes * F.relu(self.other_action(x) - math.log(SURE))
        return Output.from_logits(logits)


class Logistic(ClosedForm[LogisticConfig, Output]):
    name = "logistic"
    title = "Logistic regression of clips"
    year = 2026
    info = MethodInfo(
        paper="Ours: for short clips, of which a label says nearly everything",
        inputs="snippet features",
        checked="ours",
        evidence="gradient at the optimum, behaviour on planted anomalies",
    )
    Config = LogisticConfig
    Network = LogisticNetwork
    recipe = Recipe(steps=1)

    def check_backbone(self, backbone: str, config: LogisticConfig) -> None:
        if config.look_alikes and backbone != I3D_RGB.name:
            raise UsageError(
                f"look_alikes reads features of {I3D_RGB.name}, not of {backbone}: set "
                "method.config.look_alikes to 0"
            )

    def loss(self, output: Output, labels: Tensor, config: LogisticConfig) -> Loss:  # noqa: ARG002
        total = F.binary_cross_entropy_with_logits(output.logits.mean(1), labels.to(output.logits))
        return Loss(total, {"cls": total})

    def fit_videos(
        self,
        network: nn.Module,
        videos: Sequence[Sequence[NDArray[np.floating[Any]]]],
        abnormal: NDArray[np.bool_],
        config: LogisticConfig,
        *,
        mean: Tensor,
        deviation: Tensor,
    ) -> None:
        """Fit on the mean features of clips: abnormal videos, and normal ones cut into clips as
        long as the median abnormal one. The views of a clip share its weight."""
        assert isinstance(network, LogisticNetwork)
        labelled = list(zip(videos, abnormal, strict=True))
        length = float(np.median([len(view) for views, odd in labelled if odd for view in views]))
        means, labels, weights = [], [], []
        for views, odd in labelled:
            for view in views:
                parts = 1 if odd else max(1, round(len(view) / length))
                for part in np.array_split(view, parts):
                    means.append(part.mean(axis=0, dtype=np.float64))
                    labels.append(odd)
                    weights.append(1 / len(views))
        ((weight, bias),) = fit_ridge_logistic(
            np.stack(means), np.array(labels), [config.ridge], np.array(weights)
        )
        with torch.no_grad():
            network.score.weight.copy_(torch.from_numpy(weight)[None])
            network.score.bias.fill_(bias)
        if network.other_action is not None:
            network.other_action.classifier.load_shipped()
            network.other_action.mean.copy_(mean)
            network.other_action.deviation.copy_(deviation)


def fit_ridge_logistic(
    x: FloatArray,
    labels: NDArray[np.bool_],
    ridges: Sequence[float],
    weights: FloatArray | None = None,
) -> list[tuple[FloatArray, float]]:
    """Logistic regressions on standardised features ``x`` (N, D): for each ridge, the factor of
    half the squared norm, the (D,) weights of the features as given and an intercept without ridge.

    ``weights``: (N,) how many times each row counts.
    """
    # Solved in the at most N dimensions that the features span.
    count = np.ones(len(x)) if weights is None else weights
    mean = np.average(x, axis=0, weights=count)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=count))
    scale = np.where(deviation > _MIN_DEVIATION, deviation, np.inf)
    rows, values, directions = np.linalg.svd((x - mean) / scale, full_matrices=False)
    z = np.concatenate([rows * values, np.ones((len(x), 1))], axis=1)
    fitted = []
    for ridge in ridges:
        penalty = np.append(np.full(len(values), ridge), 0.0)
        solution = minimise_log_loss(z, labels, count, penalty)
        found = (directions.T @ solution[:-1]) / scale
        fitted.append((found, float(solution[-1] - mean @ found)))
    return fitted


def minimise_log_loss(
    rows: FloatArray,
    labels: NDArray[np.bool_],
    weights: FloatArray,
    ridge: FloatArray,
    offset: FloatArray | float = 0.0,
) -> FloatArray:
    """The ``w`` (K,) of the logits ``rows @ w + offset`` with the lowest log loss and penalty.

    ``weights``: (N,) how many times each row counts; ``ridge``: (K,) factor of half the square of
    each number. Newton's method, with halved steps where a full one overshoots.
    """
    signs = np.where(labels, 1.0, -1.0)

    def loss(w: FloatArray) -> float:
        errors = np.logaddexp(0.0, -signs * (rows @ w + offset))
        return float(weights @ errors + ridge @ w**2 / 2)

    w = np.zeros(rows.shape[1])
    for _ in range(_MAX_NEWTON_STEPS):
        wrong = np.exp(-np.logaddexp(0.0, signs * (rows @ w + offset)))  # 1 - p of the label
        gradient = ridge * w - rows.T @ (weights * signs * wrong)
        curvature = (rows.T * (weights * np.maximum(wrong * (1 - wrong), 1e-12))) @ rows
        step = np.linalg.solve(curvature + np.diag(ridge), gradient)
        before = loss(w)
        while loss(w - step) > before * (1 + 1e-12):
            step /= 2
        w = w - step
        if np.abs(rows @ step).max() < 1e-10:
            return w
    raise OddframeError("the logistic regression does not converge: a stronger ridge is needed")
