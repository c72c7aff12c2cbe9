"""Deep MIL ranking (Sultani et al.), the first weakly supervised method of the field."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import AboveZero, Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.layers import init_xavier, score_mlp
from oddframe.methods.losses import ranking_loss, smoothness, sparsity, split_by_label


class SultaniConfig(MethodConfig):
    hidden: Width = 512  # width of the first layer
    bottleneck: Width = 32  # width of the second
    dropout: Dropout = 0.6  # after both
    margin: AboveZero = 1.0  # of the ranking loss (1 in equation 5)
    smooth: NotNegative = 8e-5  # weight of the smoothness term, lambda 1 of equation 6
    sparse: NotNegative = 8e-5  # weight of the sparsity term, lambda 2


class SultaniNetwork(BagNetwork):
    """L2 normalisation, D -> hidden -> bottleneck -> 1."""

    def __init__(self, dim: int, config: SultaniConfig) -> None:
        super().__init__()
        self.layers = score_mlp(dim, config.hidden, config.bottleneck, config.dropout)
        init_xavier(self, normal=True)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        return Output.from_logits(self.layers(F.normalize(x, dim=-1)).squeeze(-1))


def bag_ranking_loss(bags: Tensor, scores: Tensor, labels: Tensor, config: SultaniConfig) -> Loss:
    """Equation 6, for ``bags`` (B,) with snippet ``scores`` (B, T). Terms: ``rank``, and ``smooth``
    and ``sparse`` of the abnormal bags."""
    normal, abnormal = split_by_label(labels)
    rank = ranking_loss(bags[abnormal], bags[normal], config.margin)  # eq. 4, 5
    odd = scores[abnormal]
    smooth, sparse = smoothness(odd).mean(), sparsity(odd).mean()
    total = rank + config.smooth * smooth + config.sparse * sparse
    return Loss(total, {"rank": rank, "smooth": smooth, "sparse": sparse})


class Sultani(WeaklySupervised[SultaniConfig, Output]):
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
        return bag_ranking_loss(output.scores.amax(1), output.scores, labels, config)

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
