"""Settings of UR-DMU: the published code (``official``) and the paper's equations (``paper``)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from oddframe.methods.base import MAX_LAYERS, MAX_WIDTH, MethodConfig

# Where the paper's equations differ from the code that its authors published.
PAPER_SETTINGS: dict[str, str] = {
    "local_norm": "row",
    "block_norm": "pre_and_post",
    "top_k": "memory",
    "dm_last": "score",
    "kl_over_time": "mean",
    "distance_norm": "squared",
}


class LossWeights(MethodConfig):
    """Weight of each loss term; 0: the term is left out."""

    cls: float = Field(default=1.0, ge=0)
    dm: float = Field(default=0.1, ge=0)
    trip: float = Field(default=0.1, ge=0)
    kl: float = Field(default=0.001, ge=0)
    dis: float = Field(default=0.0001, ge=0)

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("at least one loss term needs a weight above 0")
        return self


class UrDmuConfig(MethodConfig):
    """Settings of UR-DMU.

    ``variant`` sets the six fields in which the paper and its published code differ, except those
    that are given.

    Attributes:
        variant: ``official`` (the code of the published results and checkpoints) or ``paper``.
        local_norm: Whether the ``column`` or the ``row`` sums of the local mask are 1 (equation 1).
        block_norm: LayerNorm ``pre``: before attention and before the feed-forward network;
            ``pre_and_post``: also after each block (our reading of equation 2).
        top_k: How many snippets represent a video: ``time``: T // 16 + 1; ``memory``: M // 16 + 1
            of the M slots of the memory that selects them (section 4.2; if scores select them, of
            the anomaly memory). Never more than T.
        dm_last: Last term of L_dm, whose target is 1: top-k mean of ``one_minus_score`` or of
            ``score``, with the normal memory's scores in abnormal videos.
        kl_over_time: L_kl is the ``sum`` or the ``mean`` over the T snippets.
        distance_norm: Norms of latents in L_dis, ``plain`` or ``squared``.
        tau: Width of the local mask, exp(-|i - j| / e^tau) (equation 1).
        hidden: Width of all layers after the embedding.
        heads: Attention heads.
        head_dim: Width of a head.
        depth: Transformer blocks; 0: only the embedding sees neighbouring snippets.
        anomaly_slots: Slots of the anomaly memory.
        normal_slots: Slots of the normal memory.
        classifier_hidden: Hidden width of the classifier.
        dropout: In attention's output and in the feed-forward network.
        triplet_margin: Margin of the triplet loss.
        distance_margin: Margin of the distance loss.
        memory: Which memories exist: ``dual``, ``anomaly`` or ``normal`` alone (table 3), or
            ``none`` (table 6).
        uncertainty: Normality uncertainty learning (NUL, table 6): the classifier reads latents of
            the memory read-outs (of X without memories); without NUL the read-outs themselves.
        loss_weights: Weight of each loss term.
        shortcut: Whether a linear score of the features is added to the logits (ours; see
            ``UrDmuWithShortcut``).
        shortcut_lr: Learning rate of that linear score; the recipe's does not apply.
        shortcut_weight_decay: Its weight decay.
        deep_share: Share of UR-DMU's logits that is added to it when scoring; in training all.
    """

    variant: Literal["official", "paper"] = "official"
    local_norm: Literal["column", "row"] = "column"
    block_norm: Literal["pre", "pre_and_post"] = "pre"
    top_k: Literal["time", "memory"] = "time"
    dm_last: Literal["one_minus_score", "score"] = "one_minus_score"
    kl_over_time: Literal["sum", "mean"] = "sum"
    distance_norm: Literal["plain", "squared"] = "plain"
    tau: float = Field(default=1.0, ge=-4, le=4)
    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    heads: int = Field(default=4, ge=1, le=MAX_WIDTH)
    head_dim: int = Field(default=128, ge=1, le=MAX_WIDTH)
    depth: int = Field(default=2, ge=0, le=MAX_LAYERS)
    anomaly_slots: int = Field(default=60, ge=1, le=MAX_WIDTH)
    normal_slots: int = Field(default=60, ge=1, le=MAX_WIDTH)
    classifier_hidden: int = Field(default=128, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.5, ge=0, lt=1)
    triplet_margin: float = Field(default=1.0, ge=0)
    distance_margin: float = Field(default=100.0, ge=0)
    memory: Literal["dual", "anomaly", "normal", "none"] = "dual"
    uncertainty: bool = True
    loss_weights: LossWeights = LossWeights()
    shortcut: bool = False
    shortcut_lr: float = Field(default=2e-3, gt=0)
    shortcut_weight_decay: float = Field(default=1e-2, ge=0)
    deep_share: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("variant") == "paper":
            return PAPER_SETTINGS | data
        return data

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.deep_share < 1 and not self.shortcut:
            raise ValueError("deep_share needs a shortcut: set shortcut: true")
        return self

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        if not any(weight and name in self.terms for name, weight in self.loss_weights):
            terms = ", ".join(self.terms)
            raise ValueError(f"the loss terms of these parts are {terms}, and all weights are 0")
        return self

    def top_k_sizes(self, length: int) -> tuple[int, int]:
        """How many of T snippets the anomaly and the normal memory select to represent a video."""
        if self.top_k == "memory":  # Section 4.2
            return self.anomaly_slots // 16 + 1, self.normal_slots // 16 + 1
        return length // 16 + 1, length // 16 + 1

    @property
    def terms(self) -> tuple[str, ...]:
        """The loss terms that the existing parts have the inputs for."""
        dual, none = self.memory == "dual", self.memory == "none"
        available = {
            "cls": True,
            "dm": not none,
            "trip": dual,
            "kl": self.uncertainty and self.memory != "anomaly",
            "dis": self.uncertainty and (dual or none),
        }
        return tuple(name for name, exists in available.items() if exists)

    @classmethod
    def paper(cls, **fields: Any) -> Self:
        """The config of the paper's equations, with other ``fields`` as given."""
        return cls(variant="paper", **fields)
