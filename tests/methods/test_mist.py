"""MIST: both losses and the pseudo-labels by hand."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.mil.mist import MistOutput, SelfGuidedEncoder, pseudo_labels
from oddframe.methods.registry import get_method

METHOD = get_method("mist")
LABELS = torch.tensor([0.0, 1.0])


def test_labels_are_smoothed_and_scaled() -> None:
    scores = torch.tensor([[0.2, 0.2, 0.8, 0.5]])
    mean = [0.2, 0.4, 0.5, 0.65]
    expected = [(m - 0.2) / 0.45 for m in mean]
    assert pseudo_labels(scores, 3)[0].tolist() == pytest.approx(expected)
    assert pseudo_labels(scores, 1)[0].tolist() == pytest.approx([0, 0, 1, 0.5])
    assert pseudo_labels(torch.full((1, 4), 0.3), 3)[0].tolist() == pytest.approx([0] * 4)


@pytest.mark.parametrize("smooth", range(1, 9))
def test_labels_are_smoothed_around_each_snippet(smooth: int) -> None:
    """A peak stays where it is, and a reversed video has reversed labels."""
    peak = torch.zeros(1, 17)
    peak[0, 8] = 1.0
    labels = pseudo_labels(peak, smooth)
    torch.testing.assert_close(labels, labels.flip(1))
    assert labels[0, 8] == 1.0
    torch.manual_seed(smooth)
    scores = torch.rand(3, 5)
    torch.testing.assert_close(
        pseudo_labels(scores.flip(1), smooth), pseudo_labels(scores, smooth).flip(1)
    )


def test_an_even_width_is_the_mean_of_two_windows() -> None:
    scores = torch.tensor([[0.0, 0.4, 0.8, 0.0, 0.0]])
    mean = [(0 + 0.2) / 2, (0.2 + 0.6) / 2, (0.6 + 0.4) / 2, (0.4 + 0) / 2, 0]
    expected = [m / 0.5 for m in mean]
    assert pseudo_labels(scores, 2)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("done", [0.0, 0.5, 1.0])
def test_loss_by_hand(done: float) -> None:
    config = METHOD.Config(sub_bag=2, smooth=1, abnormal_weight=1.5, normal_weight=0.5, guide=3.0)
    generated = torch.tensor([[0.1, 0.3, 0.4], [0.9, 0.5, 0.1]])
    scores = torch.tensor([[0.2, 0.1, 0.1], [0.8, 0.6, 0.3]])
    guided = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]])
    out = MistOutput(scores, scores.logit(), generated, guided.logit(), torch.full((2,), done))
    loss = METHOD.loss(out, LABELS, config)
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["rank"] == pytest.approx(1 - 0.7 + 0.35)
    assert terms["sparse"] == pytest.approx(0.5)  # The mean of 0.9, 0.5 and 0.1.
    told = [1, 0.5, 0]
    odd = [
        1.5 * t * math.log(s) + 0.5 * (1 - t) * math.log(1 - s)
        for t, s in zip(told, (0.8, 0.6, 0.3), strict=True)
    ]
    calm = [0.5 * math.log(1 - s) for s in (0.2, 0.1, 0.1)]
    assert terms["cls"] == pytest.approx(-sum(odd + calm) / 6)
    assert terms["guide"] == pytest.approx(
        math.log(2) * (1.5 * sum(told) + 0.5 * (6 - sum(told))) / 6
    )
    expected = terms["rank"] + 0.01 * terms["sparse"]
    if done >= 0.5:
        expected += terms["cls"] + 3 * terms["guide"]
    assert loss.total.item() == pytest.approx(expected)


def test_the_encoder_by_hand() -> None:
    """Features are weighted by 1 plus the attention, which has a classifier of its own."""
    torch.manual_seed(0)
    encoder = SelfGuidedEncoder(6, METHOD.Config(hidden=5)).eval()
    x = torch.randn(2, 7, 6)
    y = encoder.embedding(x)
    attention = encoder.attention(y)
    logits, guided = encoder(x)
    torch.testing.assert_close(guided, encoder.guide(attention).squeeze(-1))
    weighed = y * (1 + attention.sigmoid())
    torch.testing.assert_close(logits, encoder.score(weighed).squeeze(-1))


def test_the_generator_does_not_learn_from_its_own_labels() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(hidden=8, bottleneck=4, sparse=0.0, margin=1e-9, dropout=0.0)
    network = METHOD.network(6, config)
    METHOD.begin_step(network, 0.9, config)
    bags = torch.randn(2, 9, 6)
    out = network(bags, LABELS)
    if (
        out.generated[1].unfold(0, 3, 1).mean(-1).max()
        < out.generated[0].unfold(0, 3, 1).mean(-1).max()
    ):
        bags = bags.flip(0)  # Ranked as it should be: no gradient from there.
        out = network(bags, LABELS)
    METHOD.loss(out, LABELS, config).total.backward()
    assert all(not p.grad.any() for p in network.generator.parameters())
    assert any(p.grad.any() for p in network.encoder.parameters())


def test_width_of_smoothing_and_start_of_the_second_stage() -> None:
    generated = torch.tensor([[0.1, 0.3, 0.4, 0.2], [0.2, 0.2, 0.8, 0.5]])
    scores = torch.tensor([[0.2, 0.1, 0.1, 0.3], [0.8, 0.6, 0.3, 0.4]])
    out = MistOutput(scores, scores.logit(), generated, scores.logit(), torch.full((2,), 0.3))
    early, late = (
        METHOD.loss(out, LABELS, METHOD.Config(smooth=3, generator_share=a)) for a in (0.2, 0.4)
    )
    told = [0.0] * 4 + [(m - 0.2) / 0.45 for m in (0.2, 0.4, 0.5, 0.65)]
    terms = [
        -1.2 * t * math.log(s) - 0.8 * (1 - t) * math.log(1 - s)
        for t, s in zip(told, scores.flatten().tolist(), strict=True)
    ]
    assert early.terms["cls"].item() == pytest.approx(sum(terms) / 8)
    assert early.total.item() == pytest.approx(late.total.item() + 2 * sum(terms) / 8)


def test_labels_are_scaled_in_each_video() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.9, 0.4]])
    expected = torch.tensor([[0.0, 0.5, 1.0], [0.0, 1.0, 0.0]])
    torch.testing.assert_close(pseudo_labels(scores, 1), expected)
