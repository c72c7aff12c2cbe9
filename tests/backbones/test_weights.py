"""Batch normalisation is folded into convolutions."""

from __future__ import annotations

import torch

from oddframe.backbones.weights import fold_batch_norm


def test_a_folded_convolution_gives_the_same_output() -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(3, 5, 3, bias=False)
    norm = torch.nn.BatchNorm3d(5, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)  # type: ignore[arg-type]
    norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    x = torch.randn(2, 3, 5, 6, 7)
    weight, bias = fold_batch_norm(
        conv.weight.detach(), norm.weight.detach(), norm.bias.detach(),
        norm.running_mean, norm.running_var, 1e-3,  # type: ignore[arg-type]
    )  # fmt: skip
    torch.testing.assert_close(norm(conv(x)), torch.conv3d(x, weight, bias), rtol=1e-4, atol=1e-5)
