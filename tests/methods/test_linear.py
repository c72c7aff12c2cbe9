"""The linear baseline learns a weighted sum of the features, and no more."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.base import Output
from oddframe.methods.registry import get_method


def test_loss_by_hand() -> None:
    method = get_method("linear")
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.2, 0.9, 0.1, 0.1]])
    loss = method.loss(
        Output(scores, scores.logit()), torch.tensor([0.0, 1.0]), method.Config(topk_share=2)
    )
    expected = -(math.log(1 - 0.35) + math.log(0.55)) / 2  # The mean of the two highest each.
    assert loss.total.item() == pytest.approx(expected)
    one = method.loss(
        Output(scores, scores.logit()), torch.tensor([0.0, 1.0]), method.Config()
    )  # k is at least 1.
    assert one.terms["cls"].item() == pytest.approx(-(math.log(0.6) + math.log(0.9)) / 2)


def test_crops_are_averaged() -> None:
    method = get_method("linear")
    network = method.network(5, method.Config())
    torch.nn.init.normal_(network.score.weight)
    features = torch.randn(2, 3, 7, 5)
    each = torch.stack([network(features[:, crop]).scores for crop in range(3)])
    torch.testing.assert_close(network(features).scores, each.mean(0))


def test_finds_the_odd_snippets_from_video_labels() -> None:
    torch.manual_seed(0)
    method = get_method("linear")
    config, recipe = method.Config(), method.recipe
    network = method.network(6, config)
    features, labels = torch.randn(40, 32, 6), torch.arange(40.0) % 2
    features[1::2, 10:16, 2] += 4  # What is odd: the third feature, in every abnormal video.
    adam = torch.optim.Adam(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay)
    for _ in range(recipe.steps):
        adam.zero_grad()
        method.loss(network(features, labels), labels, config).total.backward()
        adam.step()
    scores = network(features[1::2]).scores
    assert scores[:, 10:16].mean() > scores[:, 16:].mean() + 0.1
    assert network.score.weight.abs().argmax() == 2
