"""Deep MIL ranking: the method that began the field.

Sultani, Chen, Shah, "Real-World Anomaly Detection in Surveillance Videos", CVPR 2018. Every snippet
is scored alone by three layers; the oddest snippet of an abnormal video must score higher than the
oddest of a normal one.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import init_xavier, mean_over_crops, merge_crops, score_mlp
from oddframe.methods.shared.mil import ranking_loss, smoothness, sparsity, split_by_label


class SultaniConfig(BaseModel):
    """Settings of deep MIL ranking.

    Attributes:
        hidden: Width of the first layer.
        bottleneck: Width of the second.
        dropout: Behind both.
        margin: By which abnormal bags shall score higher (1 in equation 5).
        smooth: Weight of the smoothness term, lambda 1 of equation 6.
        sparse: Weight of the sparsity term, lambda 2.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=512, ge=1, le=MAX_WIDTH)
    bottleneck: int = Field(default=32, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.6, ge=0, lt=1)
    margin: float = Field(default=1.0, gt=0)
    smooth: float = Field(default=8e-5, ge=0)
    sparse: float = Field(default=8e-5, ge=0)


class SultaniNetwork(nn.Module):
    """L2 normalisation, D -> hidden -> bottleneck -> 1."""

    def __init__(self, dim: int, config: SultaniConfig) -> None:
        super().__init__()
        self.layers = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        init_xavier(self, normal=True)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        return mean_over_crops(self.layers(F.normalize(x, dim=-1)).squeeze(-1), crops)


class Sultani(Method[SultaniConfig, Output]):
    """Deep MIL ranking (Sultani, Chen, Shah; CVPR 2018)."""

    name = "sultani"
    title = "Sultani et al."
    year = 2018
    info = MethodInfo(
        paper="Sultani, Chen, Shah: Real-World Anomaly Detection in Surveillance Videos, CVPR 2018",
        inputs="snippet features, L2-normalised",
        supervision="video labels",
        checked="parity",
        evidence="scores, loss and gradients of the published network and loss, run on Theano; the "
        "loss is theirs over the number of abnormal bags",
        deviations=(
            "the ranking term is the mean over all pairs of an abnormal and a normal bag, the "
            "other two are means over abnormal bags",
            "the weights' penalty, 1e-3 times their squared norm, is a weight decay of 2e-3",
            "the authors' code adds the loss up over its 30 abnormal bags, so that the penalty "
            "counts a thirtieth of what it does here; its learning rate is 1e-2",
            "the paper gives no number of steps: 20,000 as in the authors' code",
        ),
    )
    Config = SultaniConfig
    recipe = Recipe(
        optimiser="adagrad",
        lr=1e-3,
        weight_decay=2e-3,
        steps=20_000,
        normal_bags=30,
        abnormal_bags=30,
        segments=32,
    )

    def network(self, dim: int, config: SultaniConfig) -> SultaniNetwork:
        """A fresh network for features of length ``dim``."""
        return SultaniNetwork(dim, config)

    def loss(self, output: Output, labels: Tensor, config: SultaniConfig) -> Loss:
        """Equation 6. Terms: ``rank``, and ``smooth`` and ``sparse`` of the abnormal bags."""
        normal, abnormal = split_by_label(labels)
        highest, odd = output.scores.amax(1), output.scores[abnormal]
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)  # eq. 4, 5
        smooth, sparse = smoothness(odd).mean(), sparsity(odd).mean()
        total = rank + config.smooth * smooth + config.sparse * sparse
        terms = {"rank": rank, "smooth": smooth, "sparse": sparse}
        return Loss(total, terms)

    def parameter_groups(
        self,
        network: nn.Module,
        config: SultaniConfig,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Weights, and biases, which equation 7 does not pull to zero."""
        parameters = list(network.parameters())
        return [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
