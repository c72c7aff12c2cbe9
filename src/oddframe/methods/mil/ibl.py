"""IBL: ranking between bags, and a gap inside abnormal ones.

Zhang, Qing, Miao, "Temporal Convolutional Network with Complementary Inner Bag Loss for Weakly
Supervised Anomaly Detection", ICIP 2019. Snippets are scored by a causal temporal convolutional
network. Inside an abnormal bag the highest and the lowest score shall lie far apart, inside a
normal one near each other.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from oddframe.methods.base import MAX_LAYERS, MAX_WIDTH, Loss, Method, MethodInfo, Output, Recipe
from oddframe.methods.shared.layers import CausalConv1d, init_xavier, mean_over_crops, merge_crops
from oddframe.methods.shared.mil import ranking_loss, smoothness, sparsity, split_by_label


class IblConfig(BaseModel):
    """Settings of the inner bag loss.

    Attributes:
        hidden: Width of the temporal convolutional network.
        blocks: Its residual blocks; each looks twice as far back as the one before.
        kernel: Snippets that a convolution sees.
        dropout: In every block.
        margin: By which abnormal bags shall score higher.
        gap: Between the highest and the lowest score of an abnormal bag that is wide enough.
        inner: Weight of the inner bag loss.
        smooth: Weight of the smoothness of scores.
        sparse: Weight of their sparsity.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden: int = Field(default=128, ge=1, le=MAX_WIDTH)
    blocks: int = Field(default=2, ge=1, le=MAX_LAYERS)
    kernel: int = Field(default=3, ge=1, le=MAX_WIDTH)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    margin: float = Field(default=1.0, gt=0)
    gap: float = Field(default=1.0, gt=0)
    inner: float = Field(default=0.1, ge=0)
    smooth: float = Field(default=8e-5, ge=0)
    sparse: float = Field(default=8e-5, ge=0)


class TemporalBlock(nn.Module):
    """A causal dilated convolution, beside what came in."""

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


class IblNetwork(nn.Module):
    """Blocks of ever longer memory and a score."""

    def __init__(self, dim: int, config: IblConfig) -> None:
        super().__init__()
        widths = [dim] + [config.hidden] * (config.blocks - 1)
        self.blocks = nn.Sequential(*(TemporalBlock(w, config, 2**i) for i, w in enumerate(widths)))
        self.score = nn.Conv1d(config.hidden, 1, 1)
        init_xavier(self)

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """(B, T, D) -> scores (B, T); (B, C, T, D): averaged over the C crops."""
        x, crops = merge_crops(features, labels)
        return mean_over_crops(self.score(self.blocks(x.mT)).squeeze(1), crops)


class Ibl(Method[IblConfig, Output]):
    """Complementary inner bag loss (Zhang, Qing, Miao; ICIP 2019)."""

    name = "ibl"
    title = "IBL"
    year = 2019
    info = MethodInfo(
        paper="Zhang, Qing, Miao: Temporal Convolutional Network with Complementary Inner Bag Loss "
        "for Weakly Supervised Anomaly Detection, ICIP 2019",
        inputs="snippet features",
        supervision="video labels",
        checked="from the paper",
        evidence="loss by hand, what is seen of the future, behaviour on planted anomalies",
        deviations=(
            "the inner loss is what an abnormal bag's gap lacks to 1, plus a normal bag's gap",
            "the ranking term is the mean over all pairs of an abnormal and a normal bag",
            "chosen: a weight of 0.1 for the inner loss, which alone does not tell high from low; "
            "two causal blocks of width 128, Sultani et al.'s weights of smoothness and sparsity, "
            "Adam at 1e-4, 3,000 steps of 30 + 30 bags",
        ),
    )
    Config = IblConfig
    recipe = Recipe(lr=1e-4, steps=3_000, normal_bags=30, abnormal_bags=30, segments=32)

    def network(self, dim: int, config: IblConfig) -> IblNetwork:
        """A fresh network for features of length ``dim``."""
        return IblNetwork(dim, config)

    def loss(self, output: Output, labels: Tensor, config: IblConfig) -> Loss:
        """Terms: ``rank`` between bags, ``inner`` inside them, ``smooth`` and ``sparse`` of
        abnormal ones."""
        normal, abnormal = split_by_label(labels)
        highest, odd = output.scores.amax(1), output.scores[abnormal]
        rank = ranking_loss(highest[abnormal], highest[normal], config.margin)
        gap = highest - output.scores.amin(1)
        inner = F.relu(config.gap - gap[abnormal]).mean() + gap[normal].mean()
        smooth, sparse = smoothness(odd).mean(), sparsity(odd).mean()
        total = rank + config.inner * inner + config.smooth * smooth + config.sparse * sparse
        terms = {"rank": rank, "inner": inner, "smooth": smooth, "sparse": sparse}
        return Loss(total, terms)
