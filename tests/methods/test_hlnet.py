"""HL-Net: loss and graphs by hand."""

from __future__ import annotations

import math

import pytest
import torch

from oddframe.methods.mil.hlnet import HlNetNetwork, HlNetOutput
from oddframe.methods.registry import get_method

METHOD = get_method("hl_net")
LABELS = torch.tensor([0.0, 1.0])


def network(**settings: object) -> HlNetNetwork:
    torch.manual_seed(0)
    made: HlNetNetwork = METHOD.network(2, METHOD.Config(**settings))
    return made.eval()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_loss_by_hand() -> None:
    logits = torch.tensor([[-1.0, 0.5, 9.0], [2.0, 0.0, 1.0]])
    online = torch.tensor([[0.2, -0.3, 9.0], [0.1, 0.4, -0.2]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    out = HlNetOutput(logits.sigmoid(), logits, online, valid)
    loss = METHOD.loss(out, LABELS, METHOD.Config())
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["cls"] == pytest.approx(-(math.log(1 - sigmoid(0.5)) + math.log(sigmoid(2))) / 2)
    assert terms["online"] == pytest.approx(
        -(math.log(1 - sigmoid(0.2)) + math.log(sigmoid(0.4))) / 2
    )
    pairs = [[(-1, 0.2), (0.5, -0.3)], [(2, 0.1), (0, 0.4), (1, -0.2)]]
    each = [sum(-sigmoid(a) * math.log(sigmoid(b)) for a, b in p) / len(p) for p in pairs]
    assert terms["distil"] == pytest.approx(sum(each) / 2)
    assert loss.total.item() == pytest.approx(terms["cls"] + terms["online"] + 5 * terms["distil"])


def test_the_holistic_graph_connects_similar_snippets() -> None:
    x = torch.tensor([[[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]])  # Cosines 0.8, 0, 0.6.
    graph = network().holistic(x, torch.ones(1, 3, dtype=torch.bool))[0]
    expected = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]]).softmax(1)
    torch.testing.assert_close(graph, expected)


def test_the_score_graph_connects_similar_scores_but_not_padding() -> None:
    online = torch.tensor([[0.3, -0.7, 5.0]])
    valid = torch.tensor([[True, True, False]])
    graph = network().by_score(online, valid)[0]
    near = 1 - (sigmoid(0.3) - sigmoid(-0.7))
    same, other = math.exp(sigmoid(5)), math.exp(sigmoid((near - 0.5) / 0.1))
    assert graph[0, 0].item() == pytest.approx(same / (same + other))
    assert not graph[2].any()
    assert not graph[:, 2].any()


def test_the_online_head_is_causal() -> None:
    made, x = network(), torch.randn(1, 9, 2)
    with torch.inference_mode():
        whole, cut = made(x, torch.zeros(1)).online, made(x[:, :5], torch.zeros(1)).online
    torch.testing.assert_close(whole[:, :5], cut)


def test_the_online_head_has_its_own_learning_rate() -> None:
    config = METHOD.Config(online_lr=1e-5)
    rest, own = METHOD.parameter_groups(network(), config)
    assert own["lr"] == 1e-5
    assert sum(p.numel() for p in own["params"]) == 128 * 64 + 64 + 64 * 32 + 32 + 32 * 5 + 1
    assert len(rest["params"]) + len(own["params"]) == len(list(network().parameters()))
