"""UR-DMU beside a linear path, for data too small for UR-DMU alone.

Our own addition, off by default. On some thirty recordings a linear score of the features
generalises better than a deep one. With a shortcut the logits are the sum of both, and UR-DMU's
last layer starts at zero: training starts as the linear baseline, and the rest of the network
learns what that cannot say. Scores may take less of UR-DMU than training does: what it adds is
surer of itself than thirty recordings allow.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from oddframe.methods.base import Output
from oddframe.methods.urdmu.network import UrDmuNetwork


class WithShortcut(nn.Module):
    """UR-DMU's logits, in scores ``share`` of them, plus w x + b; everything else is UR-DMU's."""

    def __init__(self, dim: int, base: UrDmuNetwork, share: float = 1.0) -> None:
        super().__init__()
        self.base, self.share = base, share
        self.shortcut = nn.Linear(dim, 1)
        last = base.cls_head.get_submodule("mlp.2")
        with torch.no_grad():
            for parameter in (*self.shortcut.parameters(), *last.parameters()):
                parameter.zero_()

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Output:
        """As ``UrDmuNetwork.forward``; scores of several crops are averaged."""
        if labels is None and features.ndim == 4:
            each = [self(features[:, crop]) for crop in range(features.shape[1])]
            scores = torch.stack([output.scores for output in each]).mean(0)
            return Output(scores, torch.stack([output.logits for output in each]).mean(0))
        output: Output = self.base(features, labels)
        share = self.share if labels is None else 1.0
        logits = share * output.logits + self.shortcut(features).squeeze(-1)
        return replace(output, scores=logits.sigmoid(), logits=logits)
