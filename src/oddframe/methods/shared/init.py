"""Initial weights."""

from __future__ import annotations

from torch import nn


def xavier(network: nn.Module, *, normal: bool = False, biases: bool = False) -> None:
    """Glorot's uniform (or ``normal``) weights in every linear layer and convolution.

    Biases begin at zero, or, with ``biases``, as PyTorch draws them.
    """
    fill = nn.init.xavier_normal_ if normal else nn.init.xavier_uniform_
    for module in network.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            fill(module.weight)
            if module.bias is not None and not biases:
                nn.init.zeros_(module.bias)
