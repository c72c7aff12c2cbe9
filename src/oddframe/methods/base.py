"""What a method is: features of snippets in, one score a snippet out, and how it learns.

A *bag* is a video (or one crop of it) as T snippet features; only the bag's label is known. A
method is found by name in ``registry.py``; adding one takes one module and one line there.

Methods that train in stages.

Limits of a method's configuration: a model file or a YAML may hold any number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn


class StagedNetwork(nn.Module):
    """A network whose loss depends on how far its training is, set before every step.

    ``done`` is a buffer, so that a resumed training stands where it was.
    """

    done: Tensor  # () share of the training that is done; 1 where it is not set

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("done", torch.ones(()))


ConfigT = TypeVar("ConfigT", bound=BaseModel)
OutputT = TypeVar("OutputT", bound="Output")
Supervision = Literal["video labels", "normal videos", "none"]
Verification = Literal["parity", "from the paper", "ours"]


@dataclass(frozen=True)
class Output:
    """What a network gives; subclasses add what their loss reads.

    Attributes:
        scores: (B, T) in [0, 1], higher is odder.
        logits: (B, T) the same before the sigmoid: where scores of 1 can no longer be told apart,
            logits can.
    """

    scores: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Loss:
    """``total``, the scalar to minimise, and the unweighted scalars that it is made of, by name.

    The terms are to be read: gradients go through ``total`` alone.
    """

    total: Tensor
    terms: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", {n: term.detach() for n, term in self.terms.items()})


@dataclass(frozen=True)
class MethodInfo:
    """Where a method comes from, and how far ours can be trusted to be it.

    Attributes:
        paper: Authors, title, venue.
        inputs: What it reads, in words.
        supervision: What it is told of the training videos.
        checked: ``parity``: figures of the published code are reproduced; ``from the paper``: our
            reading, held by tests of its behaviour; ``ours``: there is nothing to compare with.
        evidence: What of it is reproduced or tested, in a line.
        deviations: What ours does otherwise, or chose where the paper is silent.
    """

    paper: str
    inputs: str
    supervision: Supervision
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
        segments: Segments that a bag is brought to before training.
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
    """A method: its name, its configuration, its network, its loss and its recipe.

    Attributes:
        name: Name in the registry, ``ur_dmu``.
        title: Name in print, ``UR-DMU``.
        year: Of publication.
        info: Its paper, and how it was checked.
        Config: Pydantic model of its settings; an unknown field is an error.
        recipe: How it is trained unless told otherwise.
        one_class: Learns from normal videos alone; its network is a ``OneClassNetwork``.
        trained_by_steps: Of one that does: what it remembers at once is then trained by steps. The
        others'
            loss is never asked for.
        backbones: The only ones whose features it reads, the usual one first: those of frames,
            which are never standardised. None: it reads any features.
        unsupervised: Trained by steps, but told nothing: bags are drawn whatever their labels,
            and those of a batch mean nothing.
        supports_microbatches: The loss of as many normal as abnormal bags is the mean over its
        parts, where a
            part holds the i-th normal bag if it holds the i-th abnormal one, and no layer mixes
            bags: a step may then take a batch part by part, in a fraction of the memory.
    """

    name: str
    title: str
    year: int
    info: MethodInfo
    Config: type[ConfigT]
    recipe: Recipe
    one_class: bool = False
    trained_by_steps: bool = False
    backbones: tuple[str, ...] = ()
    unsupervised: bool = False
    supports_microbatches: bool = False

    @property
    def closed_form(self) -> bool:
        """Whether all of it is found at once."""
        return self.one_class and not self.trained_by_steps

    @abstractmethod
    def network(self, dim: int, config: ConfigT) -> nn.Module:
        """A fresh network for features of length ``dim``.

        Its ``forward(features, labels=None)`` takes (B, T, dim), or (B, C, T, dim) whose C crops'
        scores are averaged, and gives an ``Output``. ``labels`` (B,), 0 normal and 1 abnormal, are
        given in training only, with features (B, T, dim) and at least one bag of either kind; a
        method ``without_labels`` sees by them that it is trained, and does not read them. One that
        smooths over time is ``SmoothingNetwork``.
        """

    @abstractmethod
    def loss(self, output: OutputT, labels: Tensor, config: ConfigT) -> Loss:
        """The loss of what the network gave in training for bags with ``labels`` (B,)."""

    def parameter_groups(self, network: nn.Module, config: ConfigT) -> list[dict[str, Any]]:  # noqa: ARG002
        """Groups of parameters as PyTorch's optimisers take them; a group's own settings win."""
        return [{"params": list(network.parameters())}]

    def begin_step(self, network: nn.Module, done: float, config: ConfigT) -> None:  # noqa: ARG002
        """Called before every training step with the share of the steps that is done, in [0, 1).

        A network that is ``StagedNetwork`` keeps it. What else a method changes from stage to
        stage has to
        be a buffer of the network, so that a resumed training stands where it was.
        """
        if isinstance(network, StagedNetwork):
            network.done.fill_(done)

    def calibrate(self, network: nn.Module, normal: Iterable[Tensor]) -> None:
        """Called without gradients when ``network`` is looked at: it is to be used as it is.

        A method whose scores are no probabilities sets their scale here, by the features (1, T, D)
        of the training set's ``normal`` videos, and one whose scores depend on what is normal
        learns that.
        """

    def config_from_checkpoint(self, state: Mapping[str, Tensor]) -> tuple[int, ConfigT] | None:  # noqa: ARG002
        """Feature length and config of a published checkpoint, read from its tensors' shapes.

        None: its names are not this method's. Whether every tensor fits is not looked at here.
        """
        return None


AnyMethod = Method[Any, Any]


MAX_WIDTH = 65_536  # Units of a layer, slots of a memory, rows or columns of a picture.
MAX_LAYERS = 64  # Layers, and rounds of whatever is done again and again.
