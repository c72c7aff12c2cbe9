"""Pang et al.: loss and bilinear product by hand; anomalies in each modality."""

from __future__ import annotations

from math import log
from typing import Literal

import pytest
import torch

from oddframe.errors import UsageError
from oddframe.methods.mil.pang import Modality, PangOutput, SelfAttention, bernoulli_kl
from oddframe.methods.registry import get_method
from tests.methods.modalities import auc_in
from tests.methods.planted import Small

METHOD = get_method("pang")
LABELS = torch.tensor([0.0, 1.0])
SMALL = Small({"hidden": 64, "inner": 8, "rank": 64, "dropout": 0.2}, 5e-3, 200)


def test_loss_by_hand() -> None:
    """T = 2, so that k = 1: the highest score of a bag is its own."""
    scores = torch.tensor([[0.2, 0.1], [0.6, 0.9]])
    seen = torch.tensor([[0.5, 0.4], [0.7, 0.8]])
    heard = torch.tensor([[0.3, 0.1], [0.6, 0.5]])
    output = PangOutput(scores, scores.logit(), seen.logit(), heard.logit())
    loss = METHOD.loss(output, LABELS, METHOD.Config(single=0.5, mutual=2.0))
    cls = -(log(1 - 0.2) + log(0.9)) / 2
    single = -(log(1 - 0.5) + log(0.8) + log(1 - 0.3) + log(0.6)) / 2

    def apart(p: float, q: float) -> float:
        return p * log(p / q) + (1 - p) * log((1 - p) / (1 - q))

    pairs = [(0.5, 0.3), (0.4, 0.1), (0.7, 0.6), (0.8, 0.5)]
    mutual = sum(apart(p, q) + apart(q, p) for p, q in pairs) / 4
    assert loss.terms["cls"].item() == pytest.approx(cls, rel=1e-5)
    assert loss.terms["single"].item() == pytest.approx(single, rel=1e-5)
    assert loss.terms["mutual"].item() == pytest.approx(mutual, rel=1e-4)
    assert loss.total.item() == pytest.approx(cls + 0.5 * single + 2 * mutual, rel=1e-5)


def test_the_target_of_a_modality_gets_no_gradient() -> None:
    """The gradient of a modality's logits is that of its own divergence only: q - p of a mean."""
    torch.manual_seed(0)
    scores = torch.full((2, 3), 0.5)
    seen, heard = (torch.randn(2, 3).requires_grad_() for _ in range(2))
    output = PangOutput(scores, scores.logit(), seen, heard)
    METHOD.loss(output, LABELS, METHOD.Config(single=0.0, mutual=1.0)).total.backward()
    apart = (seen.sigmoid() - heard.sigmoid()).detach() / 6
    torch.testing.assert_close(seen.grad, apart)
    torch.testing.assert_close(heard.grad, -apart)


def test_equal_scores_have_no_divergence() -> None:
    logits = torch.tensor([-60.0, -2.0, 0.0, 3.0, 60.0])
    assert bernoulli_kl(logits.sigmoid(), logits).item() == pytest.approx(0, abs=1e-6)


def test_scores_are_of_the_product() -> None:
    """If the audio factor is 0, so is the product."""
    torch.manual_seed(0)
    network = METHOD.network(6, METHOD.Config(sound=2, hidden=8, inner=4, rank=5)).eval()
    x = torch.randn(1, 7, 6)
    v, a = network.picture(x[..., :4])[0], network.sound(x[..., 4:])[0]
    product = torch.tanh(network.of_picture(v)) * torch.tanh(network.of_sound(a))
    expected = network.score(product).squeeze(-1)
    torch.testing.assert_close(network(x).logits, expected)
    torch.nn.init.zeros_(network.of_sound.weight)
    assert network(x).logits.std() < 1e-6


def test_attention_by_hand() -> None:
    """The output of attention is added to its input."""
    torch.manual_seed(0)
    attention, x = SelfAttention(5, 4), torch.randn(2, 7, 5)
    weights = (attention.query(x) @ attention.key(x).mT / 2).softmax(-1)
    torch.testing.assert_close(attention(x), x + weights @ x)


@pytest.mark.parametrize("which", ["picture", "sound"])
def test_finds_anomalies_in_one_modality(which: Literal["picture", "sound"]) -> None:
    assert auc_in(METHOD, SMALL, which) > 0.95


def test_length_of_the_audio_part() -> None:
    config = METHOD.Config
    assert config(sound=3).modality_dims(10) == (7, 3)
    assert config().modality_dims(1152) == (1024, 128)
    assert config().modality_dims(1024) == (512, 512)
    with pytest.raises(UsageError, match="have no visual part if the last 10"):
        METHOD.network(10, config(sound=10))


def test_a_modality_is_scored_after_its_attention() -> None:
    torch.manual_seed(0)
    modality = Modality(5, METHOD.Config(hidden=8, inner=4)).eval()
    x = torch.randn(2, 7, 5)
    attended = modality.attention(modality.embedding(x))
    y, logits = modality(x)
    torch.testing.assert_close(y, attended)
    torch.testing.assert_close(logits, modality.score(attended).squeeze(-1))
