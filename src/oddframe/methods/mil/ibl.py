"""IBL: ranking between bags, and the inner bag loss on the range of scores within a bag."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import BagNetwork, Loss, MethodInfo, Output, Recipe, WeaklySupervised
from oddframe.methods.config import AboveZero, Depth, Dropout, MethodConfig, NotNegative, Width
from oddframe.methods.layers import CausalConv1d, init_xavier
from oddframe.methods.losses import ranking_loss, smoothness, sparsity, split_by_label


class IblConfig(MethodConfig):
    hidden: Width = 128  # width of the temporal convolutional network
    blocks: Depth = 2  # residual blocks; the dilation doubles with each
    kernel: Width = 3  # of the convolutions
    dropout: Dropout = 0.3  # in every block
    margin: AboveZero = 1.0  # of the ranking loss
    gap: AboveZero = 1.0  # margin of the inner bag loss: gap between the scores of an abnormal bag
    inner: NotNegative = 0.1  # weight of the inner bag loss
    smooth: NotNegative = 8e-5  # weight of the smoothness term
    sparse: NotNegative = 8e-5  # weight of the sparsity term


class TemporalBlock(nn.Module):
    """A causal dilated convolution with a residual connection."""

    def __init__(self, width: int, config: IblConfig, dilation: int) -> None:
        super().__init__()
        self.conv = CausalConv1d(width, config.hidden, config.kernel, dilation)
        self.dropout = nn.Dropout(config.dropout)
        same = width == config.hidden
        self.residual = nn.Identity() if same else nn.Conv1d(width, config.hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, T) -> (B, hidden, T)."""
        y: Tensor = self.dropout(F.relu(self.conv(x)))
        return y + self.residual(x)  # type: ignore[no-any-return]


class IblNetwork(BagNetwork):
    """Blocks of increasing dilation and a scoring layer."""

    def __init__(self, dim: int, config: IblConfig) -> None:
        super().__init__()
        widths = [dim] + [config.hidden] * (config.blocks - 1)
        self.blocks = nn.Sequential(*(TemporalBlock(w, config, 2**i) for i, w in enumerate(widths)))
        self.score = nn.Conv1d(config.hidden, 1, 1)
        init_xavier(self)

    def score_bags(self, x: Tensor, labels: Tensor | None) -> Output:  # noqa: ARG002
        return Output.from_logits(self.score(self.blocks(x.mT)).squeeze(1))


class Ibl(WeaklySupervised[IblConfig, Output]):
    name = "ibl"
    title = "IBL"
    year = 2019
    info = MethodInfo(
        paper="Zhang, Qing, Miao: Temporal Convolutional Network with Complementary Inner Bag Loss "
        "for Weakly Supervised Anomaly Detection, ICIP 2019",
        inputs="snippet features",
        checked="from the paper",
        evidence="loss by hand, causality, behaviour on planted anomalies",
        deviations=(
            "the inner bag loss is max(0, 1 - gap) of an abnormal bag plus the gap of a normal one",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "our choice: a weight of 0.1 for the inner bag loss, which alone does not make "
            "abnormal scores the high ones; two causal blocks of width 128, Sultani et al.'s "
            "weights of smoothness and sparsity, Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = IblConfig
    Network = IblNetwork
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def loss(self, output: Output, labels: Tensor, config: IblConfig) -> Loss:
        """Terms: ``rank`` between bags, ``inner`` within bags, ``smooth`` and ``sparse`` of
        abnormal bags."""
        normal, abnormal = split_by_label(labels)
        highest, scores = output.scores.amax(1), output.scores[abnormal]
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)
        gap = highest - output.scores.amin(1)
        inner = F.relu(config.gap - gap[abnormal]).mean() + gap[normal].mean()
        smooth, sparse = smoothness(scores).mean(), sparsity(scores).mean()
        total = rank + config.inner * inner + config.smooth * smooth + config.sparse * sparse
        return Loss(total, {"rank": rank, "inner": inner, "smooth": smooth, "sparse": sparse})
