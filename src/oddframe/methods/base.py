"""What a method is: its network, loss and training recipe, and the types that these exchange.

A *bag* is a video, or one crop of it, as T snippet features. A network scores every snippet. The
type of a method says what it knows about training videos: their labels (``WeaklySupervised``), that
they are all normal (``OneClass``) or nothing (``Unsupervised``). ``registry.py`` lists all methods.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from oddframe.errors import UsageError
from oddframe.methods.config import DETECTS_UNUSUAL, AudioVisualConfig

ConfigT = TypeVar("ConfigT", bound=BaseModel)
OutputT = TypeVar("OutputT", bound="Output")
Supervision = Literal["video labels", "normal videos", "none"]
Verification = Literal["parity", "from the paper", "ours"]
# Weight of the term that labels in time add to a loss; benchmarks/RESULTS.md has how it was chosen.
CLICK_WEIGHT = 0.1


@dataclass(frozen=True)
class Output:
    """What a network returns; subclasses add what their loss reads.

    Attributes:
        scores: (B, T) anomaly scores in [0, 1], higher is more anomalous.
        logits: (B, T) the scores before the sigmoid. They still differ where scores round to 1.
    """

    scores: Tensor
    logits: Tensor

    @staticmethod
    def from_logits(logits: Tensor) -> Output:
        """The output with these logits (B, T)."""
        return Output(logits.sigmoid(), logits)


@dataclass(frozen=True)
class Loss:
    """The loss of one batch.

    Attributes:
        total: Scalar to minimise.
        terms: The unweighted scalars that ``total`` is made of, by name. They are for logs:
            they are detached, so gradients flow through ``total`` alone.
    """

    total: Tensor
    terms: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", {n: term.detach() for n, term in self.terms.items()})

    @staticmethod
    def mean(losses: Sequence[Loss]) -> Loss:
        """The mean of losses with the same terms."""
        total = torch.stack([loss.total for loss in losses]).mean()
        terms = {n: torch.stack([loss.terms[n] for loss in losses]).mean() for n in losses[0].terms}
        return Loss(total, terms)


def merge_crops(features: Tensor, labels: Tensor | None = None) -> tuple[Tensor, int]:
    """(B, C, T, D) -> (B * C, T, D) and C; (B, T, D) stays as it is, with C = 1. UsageError if
    there are several crops and ``labels``: a training item is one crop."""
    if features.ndim == 3:
        return features, 1
    if labels is not None:
        raise UsageError("train on one crop at a time: features (B, T, D), not (B, C, T, D)")
    return features.flatten(0, 1), features.shape[1]


def mean_over_crops(logits: Tensor, crops: int) -> Output:
    """Logits (B * C, T) -> mean scores and mean logits of the crops, both (B, T)."""
    logits = logits.view(-1, crops, logits.shape[1])
    return Output(logits.sigmoid().mean(1), logits.mean(1))


class BagNetwork(nn.Module, ABC):
    """A network that scores each bag by itself; the scores of a video's crops are averaged."""

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops.

        With ``labels`` it returns what the loss reads.
        """
        bags, crops = merge_crops(features, labels)
        output = self.score_bags(bags, labels)
        return mean_over_crops(output.logits, crops) if labels is None else output

    @abstractmethod
    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:
        """(B, T, D) -> (B, T); with ``labels`` the method's own output, which the loss reads."""


class StagedNetwork(BagNetwork):
    """A network whose loss depends on the training progress, which is set before every step.

    ``done`` is a buffer, so a checkpoint contains it.
    """

    done: Tensor  # () share of the training steps that are done; 1 outside training

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.ones(()))


@dataclass(frozen=True)
class MethodInfo:
    """Where a method comes from, and how far this implementation was verified.

    Attributes:
        paper: Authors, title, venue.
        inputs: What it reads, in words.
        checked: ``parity``: it reproduces the results of the published code; ``from the paper``:
            implemented from the paper, with tests of the loss and of the behaviour; ``ours``: there
            is nothing to compare with.
        evidence: What is reproduced or tested, in a line.
        deviations: Where this implementation differs from the paper, and what was chosen where the
            paper is silent.
    """

    paper: str
    inputs: str
    checked: Verification
    evidence: str
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a method's authors train it.

    Attributes:
        optimiser: ``adam`` (weight decay is L2), ``adamw`` (decoupled) or ``adagrad``.
        lr: Learning rate.
        weight_decay: Weight decay.
        steps: Optimiser steps.
        normal_bags: Normal bags a step.
        abnormal_bags: Abnormal bags a step.
        segments: Segments of a bag in training: its snippets are averaged to this number.
        clip_norm: Largest norm of the gradient; None: not clipped.
        average: Decay of the exponential moving average of the weights; 0: none.
    """

    optimiser: Literal["adam", "adamw", "adagrad"] = "adam"
    lr: float = 1e-4
    weight_decay: float = 0.0
    steps: int = 3000
    normal_bags: int = 64
    abnormal_bags: int = 64
    segments: int = 200
    clip_norm: float | None = None
    average: float = 0.0


class Method(ABC, Generic[ConfigT, OutputT]):
    """Base of all methods; derive from ``WeaklySupervised``, ``OneClass`` or ``Unsupervised``.

    Attributes:
        name: Name in the registry, ``ur_dmu``.
        title: Name in print, ``UR-DMU``.
        year: Year of publication.
        info: Its paper, and how the implementation was verified.
        Config: Pydantic model of its settings.
        Network: Its network, built as ``Network(dim, config)``; see ``network``.
        recipe: How it is trained by default.
        supervision: What it knows of the training videos.
        closed_form: Whether it is fitted at once, without optimiser steps; ``loss`` is not called.
        backbones: The only backbones whose features it reads, the default one first. Such
            features are grey frames, which are never standardised. Empty: it reads any features.
        squares: Number of small motion squares that it looks at unless the configuration says
            otherwise; 0: the whole picture.
        league_config: Settings in the league; empty: the default ones, which train fast enough.
        click_weight: Weight of the term that labels in time add to the loss, unless the
            configuration says otherwise; 0 where they made scores worse.
        supports_microbatches: Whether a batch of as many normal as abnormal bags may be split to
            save memory. Then the loss must be the mean of the losses of the parts, where the i-th
            normal and the i-th abnormal bag stay together, and no layer may mix bags.
    """

    name: str
    title: str
    year: int
    info: MethodInfo
    Config: type[ConfigT]
    Network: type[nn.Module]
    recipe: Recipe
    supervision: Supervision
    closed_form: bool = False
    backbones: tuple[str, ...] = ()
    squares: int = 0
    league_config: Mapping[str, Any] = MappingProxyType({})
    click_weight: float = CLICK_WEIGHT
    supports_microbatches: bool = False

    def splits_batches(self, config: ConfigT) -> bool:  # noqa: ARG002
        """``supports_microbatches`` with these settings."""
        return self.supports_microbatches

    @property
    def one_class(self) -> bool:
        """Whether it learns from normal videos alone; it is a ``OneClass``."""
        return self.supervision == "normal videos"

    @property
    def unsupervised(self) -> bool:
        """Whether it reads no labels; it is an ``Unsupervised``."""
        return self.supervision == "none"

    @property
    def reads_sound(self) -> bool:
        """Whether it reads picture and sound as two modalities."""
        return issubclass(self.Config, AudioVisualConfig)

    @property
    def needs_abnormal_videos(self) -> bool:
        """Whether it cannot be trained without abnormal videos."""
        return self.supervision == "video labels"

    @abstractmethod
    def describe_target(self, labels: Iterable[str]) -> str:
        """What a model of this method detects, in words, unless the user names it.

        Args:
            labels: Classes of the abnormal training videos.
        """

    def network(self, dim: int, config: ConfigT) -> nn.Module:
        """Build an untrained network for features of length ``dim``.

        Its ``forward(features, labels=None)`` takes (B, T, dim), or (B, C, T, dim) and averages the
        scores of the C crops, and returns an ``Output``. ``labels`` (B,), 0 normal and 1 abnormal,
        are given in training only, with features (B, T, dim) and at least one bag of either class.
        The network of an ``Unsupervised`` method must not read them: they only say that this is
        training. ``BagNetwork`` has that ``forward``; a network that smooths over time derives from
        ``SmoothingNetwork``.
        """
        return self.Network(dim, config)

    def check_backbone(self, backbone: str, config: ConfigT) -> None:
        """Refuse features that the config cannot be used with.

        Args:
            backbone: Name of what made the features, as in their ``FeatureSpec``.
            config: The method's.

        Raises:
            UsageError: it cannot.
        """

    @abstractmethod
    def loss(self, output: OutputT, labels: Tensor, config: ConfigT) -> Loss:
        """The loss of what the network returned in training for bags with ``labels`` (B,)."""

    def parameter_groups(self, network: nn.Module, config: ConfigT) -> list[dict[str, Any]]:  # noqa: ARG002
        """Parameter groups for the optimiser; a group's own settings replace the recipe's."""
        return [{"params": list(network.parameters())}]

    def begin_step(self, network: nn.Module, done: float, config: ConfigT) -> None:  # noqa: ARG002
        """Prepare ``network`` for a training step.

        Whatever an override changes from stage to stage must be a buffer of the network, so that a
        checkpoint contains it.

        Args:
            network: In training.
            done: Share of the steps that are done, in [0, 1).
            config: The method's.
        """
        if isinstance(network, StagedNetwork):
            network.done.fill_(done)

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        """Set what the scores depend on besides the weights; called without gradients.

        Training calls it whenever it evaluates or saves the network. A method whose scores are not
        probabilities sets their scale here, and a method whose scores depend on statistics of
        normal features computes these.

        Args:
            network: In evaluation mode.
            normal: Features (1, T, D) of each normal training video.
        """

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, ConfigT] | None:  # noqa: ARG002
        """Feature length and config of a published checkpoint, from its tensors' shapes.

        Returns:
            None if the names are not those of this method. Whether all tensors fit is left to the
            caller.
        """
        return None


class WeaklySupervised(Method[ConfigT, OutputT]):
    """A method that knows the label of each training video, but not when something happens."""

    supervision = "video labels"

    def describe_target(self, labels: Iterable[str]) -> str:
        return ", ".join(sorted(set(labels)))


class ClosedForm(WeaklySupervised[ConfigT, OutputT]):
    """A weakly supervised method that is fitted at once, without optimiser steps."""

    closed_form = True

    @abstractmethod
    def fit_videos(
        self,
        network: nn.Module,
        videos: Sequence[Sequence[NDArray[np.floating[Any]]]],
        abnormal: NDArray[np.bool_],
        config: ConfigT,
        *,
        mean: Tensor,
        deviation: Tensor,
    ) -> None:
        """Set the weights of ``network``.

        Args:
            network: On the CPU.
            videos: The views of each of N videos, each (T, D), standardised.
            abnormal: (N,) which videos are abnormal, with some of both classes.
            config: The method's.
            mean: (D,) what was subtracted from the features.
            deviation: (D,) what they were then divided by.
        """


class OneClass(Method[ConfigT, OutputT]):
    """A method that learns from normal videos alone; its network is a ``OneClassNetwork``.

    By default ``fit_snippets`` is the whole training. With ``closed_form = False`` training by
    optimiser steps follows it.
    """

    supervision = "normal videos"
    closed_form = True

    def describe_target(self, labels: Iterable[str]) -> str:  # noqa: ARG002
        return DETECTS_UNUSUAL

    def loss(self, output: OutputT, labels: Tensor, config: Any) -> Loss:  # noqa: ARG002
        """To be overridden where ``closed_form`` is False."""
        raise UsageError(f"{self.name} is not trained by steps: fit_snippets fits it at once")


class Unsupervised(Method[ConfigT, OutputT]):
    """A method that reads no labels: bags are drawn from all videos, whatever their labels."""

    supervision = "none"

    def describe_target(self, labels: Iterable[str]) -> str:  # noqa: ARG002
        return "what is rare"


AnyMethod = Method[Any, Any]
