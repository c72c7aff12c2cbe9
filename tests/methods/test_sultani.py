"""Deep MIL ranking: loss by hand."""

from __future__ import annotations

import pytest
import torch

from oddframe.errors import UsageError
from oddframe.methods.base import Output
from oddframe.methods.registry import get_method

METHOD = get_method("sultani")


def loss(scores: torch.Tensor, labels: torch.Tensor, **settings: float) -> dict[str, float]:
    output = Output(scores, scores.logit())
    found = METHOD.loss(output, labels, METHOD.Config(**settings))
    return {"total": found.total.item(), **{k: v.item() for k, v in found.terms.items()}}


def test_loss_by_hand() -> None:
    normal = [[0.1, 0.3, 0.2], [0.6, 0.2, 0.1]]
    abnormal = [[0.2, 0.9, 0.4]]
    found = loss(torch.tensor(normal + abnormal), torch.tensor([0.0, 0.0, 1.0]))
    rank = ((1 - 0.9 + 0.3) + (1 - 0.9 + 0.6)) / 2
    smooth, sparse = 0.7**2 + 0.5**2, 0.2 + 0.9 + 0.4
    assert found["rank"] == pytest.approx(rank)
    assert found["smooth"] == pytest.approx(smooth)
    assert found["sparse"] == pytest.approx(sparse)
    assert found["total"] == pytest.approx(rank + 8e-5 * smooth + 8e-5 * sparse)


def test_no_loss_beyond_the_margin() -> None:
    scores = torch.tensor([[0.1, 0.1], [0.9, 0.1]])
    assert loss(scores, torch.tensor([0.0, 1.0]), margin=0.5)["rank"] == 0


def test_batches_of_one_class_are_refused() -> None:
    with pytest.raises(UsageError, match="normal and abnormal"):
        loss(torch.rand(2, 3), torch.zeros(2))


def test_the_norm_of_features_does_not_matter() -> None:
    network = METHOD.network(6, METHOD.Config()).eval()
    features = torch.randn(2, 5, 6)
    lengths = torch.rand(2, 5, 1) + 0.5  # Each snippet's own.
    torch.testing.assert_close(network(features).scores, network(lengths * features).scores)


def test_biases_have_no_weight_decay() -> None:
    network = METHOD.network(6, METHOD.Config())
    weights, biases = METHOD.parameter_groups(network, METHOD.Config())
    assert [p.ndim for p in weights["params"]] == [2, 2, 2]
    assert [p.ndim for p in biases["params"]] == [1, 1, 1]
    assert "weight_decay" not in weights
    assert biases["weight_decay"] == 0
