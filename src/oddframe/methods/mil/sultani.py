"""Deep MIL ranking, the first weakly supervised method of the field.

Sultani, Chen, Shah, "Real-World Anomaly Detection in Surveillance Videos", CVPR 2018. Three layers
score each snippet by itself. The highest score of an abnormal video must be higher than the highest
score of a normal one.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import (
    AboveZero,
    BagNetwork,
    Dropout,
    Loss,
    MethodConfig,
    MethodInfo,
    NotNegative,
    Output,
    Recipe,
    WeaklySupervised,
    Width,
)
from oddframe.methods.layers import init_xavier, score_mlp
from oddframe.methods.losses import ranking_loss, smoothness, sparsity, split_by_label


class SultaniConfig(MethodConfig):
    """Settings of deep MIL ranking.

    Attributes:
        hidden: Width of the first layer.
        bottleneck: Width of the second.
        dropout: After both.
        margin: Margin of the ranking loss (1 in equation 5).
        smooth: Weight of the smoothness term, lambda 1 of equation 6.
        sparse: Weight of the sparsity term, lambda 2.
    """

    hidden: Width = 512
    bottleneck: Width = 32
    dropout: Dropout = 0.6
    margin: AboveZero = 1.0
    smooth: NotNegative = 8e-5
    sparse: NotNegative = 8e-5


class SultaniNetwork(BagNetwork):
    """L2 normalisation, D -> hidden -> bottleneck -> 1."""

    def __init__(self, dim: int, config: SultaniConfig) -> None:
        super().__init__()
        self.layers = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        init_xavier(self, normal=True)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        return Output.from_logits(self.layers(F.normalize(x, dim=-1)).squeeze(-1))


class Sultani(WeaklySupervised[SultaniConfig, Output]):
    """Deep MIL ranking (Sultani, Chen, Shah; CVPR 2018)."""

    name = "sultani"
    title = "Sultani et al."
    year = 2018
    info = MethodInfo(
        paper="Sultani, Chen, Shah: Real-World Anomaly Detection in Surveillance Videos, CVPR 2018",
        inputs="snippet features, L2-normalised",
        checked="parity",
        evidence="scores, loss and gradients of the published network and loss, run on Theano; the "
        "loss is theirs divided by the number of abnormal bags",
        deviations=(
            "the ranking term is the mean over all pairs of an abnormal and a normal bag, the "
            "other two are means over abnormal bags",
            "the penalty of the weights, 1e-3 times their squared norm, is a weight decay of 2e-3",
            "the authors' code sums the loss over its 30 abnormal bags, so the penalty there has "
            "1/30 of its weight here; its learning rate is 1e-2",
            "the paper gives no number of steps: 20,000 as in the authors' code",
        ),
    )
    Config = SultaniConfig
    Network = SultaniNetwork
    recipe = Recipe(
        optimiser="adagrad",
        lr=1e-3,
        weight_decay=2e-3,
        steps=20_000,
        normal_bags=30,
        abnormal_bags=30,
        segments=32,
    )

    def loss(self, output: Output, labels: Tensor, config: SultaniConfig) -> Loss:
        """Equation 6. Terms: ``rank``, and ``smooth`` and ``sparse`` of the abnormal bags."""
        normal, abnormal = split_by_label(labels)
        highest, scores = output.scores.amax(1), output.scores[abnormal]
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)  # eq. 4, 5
        smooth, sparse = smoothness(scores).mean(), sparsity(scores).mean()
        total = rank + config.smooth * smooth + config.sparse * sparse
        terms = {"rank": rank, "smooth": smooth, "sparse": sparse}
        return Loss(total, terms)

    def parameter_groups(
        self,
        network: nn.Module,
        config: SultaniConfig,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """Biases have no weight decay: equation 7 penalises weights only."""
        parameters = list(network.parameters())
        return [
            {"params": [p for p in parameters if p.ndim > 1]},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
