"""CRFD: loss by hand, and causality."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from oddframe.methods.mil.crfd import CausalRelation, CrfdOutput
from oddframe.methods.registry import get_method

METHOD = get_method("crfd")
LABELS = torch.tensor([0.0, 1.0])


def test_loss_by_hand() -> None:
    scores = torch.tensor([[0.2, 0.1], [0.6, 0.3]])
    hidden = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.6, 0.8], [-1.0, 0.0]]])
    loss = METHOD.loss(CrfdOutput(scores, scores.logit(), hidden), LABELS, METHOD.Config())
    terms = {name: term.item() for name, term in loss.terms.items()}
    assert terms["cls"] == pytest.approx(-(math.log(1 - 0.2) + math.log(0.6)) / 2)
    assert terms["compact"] == pytest.approx(0.5)  # Both a root of a half from (0.5, 0.5).
    assert terms["disperse"] == pytest.approx(1 - (0.1**2 + 0.3**2))  # The first is the oddest.
    weighted = terms["cls"] + 0.1 * terms["compact"] + 0.1 * terms["disperse"]
    assert loss.total.item() == pytest.approx(weighted)


def test_no_loss_beyond_the_margin() -> None:
    scores = torch.tensor([[0.2], [0.6]])
    hidden = torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]])
    loss = METHOD.loss(CrfdOutput(scores, scores.logit(), hidden), LABELS, METHOD.Config())
    assert loss.terms["disperse"].item() == 0
    assert loss.terms["compact"].item() == 0


def test_the_local_branch_is_causal() -> None:
    torch.manual_seed(0)
    relation = CausalRelation(METHOD.Config(hidden=4, inner=3)).eval()
    x = torch.randn(1, 8, 4)
    other = x.clone()
    other[:, 5:] += 1
    with torch.inference_mode():
        relation.out.weight[:, :3] = 0  # Without the global branch.
        torch.testing.assert_close(relation(x)[:, :5], relation(other)[:, :5])
        torch.nn.init.normal_(relation.out.weight)
        assert (relation(x)[:, :5] - relation(other)[:, :5]).abs().max() > 1e-4


@pytest.mark.parametrize("reach", [1.0, 2.0])
def test_the_relation_by_hand(reach: float) -> None:
    torch.manual_seed(0)
    relation = CausalRelation(METHOD.Config(hidden=5, inner=4)).eval()
    torch.nn.init.constant_(relation.fall, math.log(reach))
    x = torch.randn(1, 6, 5)
    q, k, v = relation.q(x)[0], relation.k(x)[0], relation.v(x)[0]
    weights = q @ k.T / 2
    past = torch.tensor(
        [[(i - j) / reach if i >= j else math.inf for j in range(6)] for i in range(6)]
    )
    both = torch.cat([weights.softmax(1) @ v, (weights - past).softmax(1) @ v], dim=1)
    torch.testing.assert_close(relation(x)[0], x[0] + relation.out(both))


def test_features_are_normalised_and_the_classifier_is_causal() -> None:
    torch.manual_seed(0)
    network = METHOD.network(4, METHOD.Config(hidden=8, inner=3)).eval()
    x = torch.randn(2, 12, 4)
    out = network(x, LABELS)
    torch.testing.assert_close(out.hidden.norm(dim=-1), torch.ones(2, 12))
    encoded = network.norm(network.relation(network.embedding(x)))
    torch.testing.assert_close(out.hidden, F.normalize(encoded, dim=-1))
    weight, bias = network.classifier.weight, network.classifier.bias
    assert weight.shape == (1, 8, 7)
    last = (encoded[:, -7:].mT * weight).sum((1, 2)) + bias
    torch.testing.assert_close(out.logits[:, -1], last)


def test_local_weights_decay_with_the_distance() -> None:
    relation = CausalRelation(METHOD.Config(hidden=1, inner=1)).eval()
    with torch.inference_mode():
        relation.q.weight.zero_()
        relation.v.weight.fill_(1)
        relation.out.weight.copy_(torch.tensor([[0.0, 1.0]]))
        for layer in (relation.q, relation.v, relation.out):
            layer.bias.zero_()
        pulse = torch.zeros(1, 6, 1)
        pulse[0, 2] = 1
        seen = (relation(pulse) - pulse)[0, :, 0]
    assert seen[:2].tolist() == [0, 0]
    weight = math.exp(-1)
    assert seen[2].item() == pytest.approx(1 / (1 + weight + weight**2))
    assert (seen[2:].diff() < 0).all()


def test_features_of_several_videos_by_hand() -> None:
    """One centre of all normal videos; of 16 snippets the top k are two."""
    torch.manual_seed(0)
    scores, hidden = torch.rand(3, 16), F.normalize(torch.randn(3, 16, 2), dim=-1)
    labels = torch.tensor([0.0, 1.0, 0.0])
    loss = METHOD.loss(CrfdOutput(scores, scores.logit(), hidden), labels, METHOD.Config(margin=5))
    calm = torch.cat([hidden[0], hidden[2]])
    centre = calm.mean(0)
    compact = ((calm - centre) ** 2).sum() / 32
    oddest = hidden[1, scores[1].argsort()[-2:]].mean(0)
    disperse = 5 - ((oddest - centre) ** 2).sum()
    assert loss.terms["compact"].item() == pytest.approx(compact.item(), rel=1e-5)
    assert loss.terms["disperse"].item() == pytest.approx(disperse.item(), rel=1e-5)
