"""PEL4VAD: loss by hand, attention window and smoothing."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.methods.base import Output
from oddframe.methods.mil.pel4vad import smooth_logits
from oddframe.methods.registry import get_method

METHOD = get_method("pel4vad")


def test_loss_by_hand() -> None:
    row = torch.linspace(0.1, 0.9, 16)  # k is 2 for an abnormal video, 1 for a normal one.
    scores = torch.stack([row, row])
    loss = METHOD.loss(Output(scores, scores.logit()), torch.tensor([0.0, 1.0]), METHOD.Config())
    two = row[-2:].mean().item()
    assert loss.total.item() == pytest.approx(-(math.log(1 - 0.9) + math.log(two)) / 2)


def test_settings_can_be_changed_one_by_one() -> None:
    config = METHOD.Config(setting="xd", smooth="none")
    assert (config.kernel, config.smooth) == (3, "none")
    assert METHOD.Config.model_validate(config.model_dump()) == config
    assert METHOD.Config().kernel == 9


def test_the_local_branch_attends_to_the_window() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(power_norm=False, window=5, smooth="none", kernel=1)
    network = METHOD.network(8, config).eval()
    x = torch.randn(1, 20, 8)
    other = x.clone()
    other[:, 12:] += 1
    with torch.inference_mode():
        network.self_attention.self_attn.alpha.fill_(-100)  # All local.
        here, there = network(x).logits[0], network(other).logits[0]
        torch.testing.assert_close(here[:10], there[:10])
        assert (here[10:12] - there[10:12]).abs().min() > 1e-6
        network.self_attention.self_attn.alpha.fill_(100)  # All global.
        assert (network(x).logits[0] - network(other).logits[0]).abs().min() > 1e-6


@given(
    scores=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=30),
    width=st.integers(1, 9),
)
def test_smoothing_is_the_mean_of_probabilities(scores: list[float], width: int) -> None:
    logits = torch.tensor([scores], dtype=torch.float64).logit()
    padded = scores + [0.0] * width
    slide = [sum(padded[i : i + width]) / width for i in range(len(scores))]
    starts = [i - i % width for i in range(len(scores))]
    fixed = [sum(padded[i : i + width]) / width for i in starts]
    for how, expected in (("slide", slide), ("fixed", fixed), ("none", scores)):
        found = smooth_logits(logits, how, width).sigmoid()[0]  # type: ignore[arg-type]
        assert found.tolist() == pytest.approx(expected, abs=1e-9)


def test_scores_close_to_1_stay_distinct() -> None:
    found = smooth_logits(torch.tensor([[40.0, 41.0, 42.0, 43.0]]), "slide", 2)[0, :3]
    assert (found.diff() > 0.5).all()
