"""GCN: both losses by hand, and their alternation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from oddframe.methods.base import Loss
from oddframe.methods.mil.gcn import GcnOutput, NoiseCleaner
from oddframe.methods.registry import get_method

METHOD = get_method("gcn")
LABELS = torch.tensor([0.0, 1.0])
SCORES = torch.tensor([[0.2, 0.4], [0.3, 0.9]])
CLEANED = torch.tensor([[0.4, 0.4], [0.1, 0.8]])
AGAIN = torch.tensor([[0.4, 0.3], [0.1, 0.6]])


def loss(done: float, passes: Tensor, **settings: float) -> Loss:
    rounds = METHOD.Config(rounds=2, **settings)
    out = GcnOutput(
        SCORES, SCORES.logit(), passes, CLEANED.logit(), AGAIN.logit(), torch.full((2,), done)
    )
    return METHOD.loss(out, LABELS, rounds)


def bce(scores: list[float], targets: list[float]) -> float:
    pairs = zip(scores, targets, strict=True)
    return -sum(t * math.log(s) + (1 - t) * math.log(1 - s) for s, t in pairs) / len(scores)


def test_the_first_labels_are_those_of_the_videos() -> None:
    found = loss(0.0, torch.stack([SCORES, SCORES], dim=1))
    assert found.total.item() == pytest.approx(bce([0.2, 0.4, 0.3, 0.9], [0, 0, 1, 1]))


def test_later_labels_are_the_graphs_but_0_in_normal_videos() -> None:
    found = loss(0.5, torch.stack([SCORES, SCORES], dim=1))
    assert found.total.item() == pytest.approx(bce([0.2, 0.4, 0.3, 0.9], [0, 0, 0.1, 0.8]))


@pytest.mark.parametrize("done", [0.25, 0.75, 1.0])
def test_the_graph_learns_from_confident_snippets(done: float) -> None:
    spread = torch.tensor([[0.0, 0.05], [0.01, 0.1]])
    passes = torch.stack([SCORES - spread, SCORES + spread], dim=1)
    found = loss(done, passes, confident_share=0.5, ensemble=3.0)
    direct = bce([0.4, 0.1], [0, 0.3])  # The two of the least spread.
    ensemble = (0.1**2 + 0.2**2) / 4
    assert found.terms["direct"].item() == pytest.approx(direct)
    assert found.terms["ensemble"].item() == pytest.approx(ensemble)
    assert found.total.item() == pytest.approx(direct + 3 * ensemble)


def test_classifier_and_graph_are_trained_alternately() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(hidden=8, bottleneck=4)
    for done, learner in ((0.0, "classifier"), (0.2, "cleaner"), (0.4, "classifier")):
        network = METHOD.network(6, config)
        METHOD.begin_step(network, done, config)
        METHOD.loss(network(torch.randn(2, 9, 6), LABELS), LABELS, config).total.backward()
        learning = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None}
        assert learning == {learner}


def test_the_graph_network_by_hand() -> None:
    """Rows of both graphs sum to 1; the outputs of the branches are added."""
    torch.manual_seed(0)
    cleaner = NoiseCleaner(3, METHOD.Config(hidden=8, bottleneck=4, sharpness=2.0)).eval()
    x = torch.randn(1, 5, 3)
    rows = x[0] / x[0].norm(dim=1, keepdim=True)
    alike = torch.exp(2 * (rows @ rows.T - 1))
    near = torch.tensor([[math.exp(-abs(i - j)) for j in range(5)] for i in range(5)])
    fused = []
    for layers, graph in ((cleaner.alike, alike), (cleaner.near, near)):
        y = x[0]
        for layer in layers:
            y = (graph / graph.sum(1, keepdim=True) @ layer.linear(y)).clamp(min=0)
        fused.append(y)
    torch.testing.assert_close(cleaner(x)[0], cleaner.score(fused[0] + fused[1]).squeeze(-1))


def test_the_graph_is_symmetric_in_time() -> None:
    torch.manual_seed(0)
    cleaner = NoiseCleaner(3, METHOD.Config(hidden=8, bottleneck=4, dropout=0.0)).eval()
    x = torch.randn(1, 7, 3)
    with torch.inference_mode():
        there = cleaner(x)
        torch.testing.assert_close(cleaner(x.flip(1)).flip(1), there)
        assert (cleaner(x[:, [1, 0, 2, 3, 4, 5, 6]]) - there).abs().max() > 1e-4


def test_passes_have_different_dropout_and_the_first_gives_the_scores() -> None:
    torch.manual_seed(0)
    config = METHOD.Config(hidden=64, bottleneck=32, passes=3)
    network = METHOD.network(6, config).train()
    x = torch.randn(2, 9, 6)
    out = network(x, LABELS)
    assert out.passes.shape == (2, 3, 9)
    torch.testing.assert_close(out.passes[:, 0], out.scores)
    assert (out.passes.std(1) > 1e-4).all()
    assert (out.cleaned - out.cleaned_again).abs().max() > 1e-4
    quiet = network.eval()(x, LABELS)
    torch.testing.assert_close(quiet.passes, quiet.scores[:, None].expand(2, 3, 9))
