"""Deep MIL ranking against values of its published network and loss, D = 4096."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from oddframe.methods.base import Loss, Output
from oddframe.methods.mil.sultani import SultaniConfig, SultaniNetwork
from oddframe.methods.registry import get_method
from tests.methods import formula
from tests.methods.parity import Facts

METHOD = get_method("sultani")
CONFIG = SultaniConfig(dropout=0.0)
LABELS = torch.tensor([0.0, 1.0]).repeat_interleave(30)
# The published loss adds up over its abnormal bags.
ABNORMAL = 30
FACTS: Facts = json.loads(
    (Path(__file__).parent / "data" / "sultani_4096.json").read_text(encoding="utf-8")
)


class Step:
    """One pass over 30 normal and 30 abnormal bags."""

    def __init__(self) -> None:
        self.network = SultaniNetwork(FACTS["dim"], CONFIG)
        names = list(self.network.state_dict())
        rows = [row | {"name": names[row["i"]]} for row in FACTS["tensors"]]
        formula.fill(self.network, rows, FACTS["seed_S"])
        bags = formula.features(FACTS["setup"]["bags"], FACTS["seed_S"])
        self.output: Output = self.network(bags, LABELS)
        self.output.scores.retain_grad()
        self.loss: Loss = METHOD.loss(self.output, LABELS, CONFIG)
        (ABNORMAL * self.loss.total).backward()


@pytest.fixture(scope="module")
def trained() -> Step:
    return Step()


def test_scores(trained: Step) -> None:
    scores, figures = trained.output.scores.detach(), FACTS["scores"]
    for bag, expected in figures["first8_of_bags"].items():
        torch.testing.assert_close(scores[int(bag), :8], torch.tensor(expected), rtol=0, atol=1e-6)
    highest = torch.tensor(figures["max_of_bags"])
    torch.testing.assert_close(scores.amax(1), highest, rtol=0, atol=1e-6)
    assert float(scores.mean()) == pytest.approx(figures["mean"], rel=1e-6)
    assert float(scores.std(correction=0)) == pytest.approx(figures["std_pop"], rel=1e-4)


def test_loss_is_the_published_one_over_the_abnormal_bags(trained: Step) -> None:
    assert float(ABNORMAL * trained.loss.total.detach()) == pytest.approx(FACTS["loss"], rel=1e-6)


def test_gradients(trained: Step) -> None:
    gradient, figures = trained.output.scores.grad, FACTS["loss_gradient_by_scores"]
    assert gradient is not None
    assert float(gradient.norm()) == pytest.approx(figures["l2"], rel=1e-5)
    assert float(gradient.sum()) == pytest.approx(figures["sum"], abs=1e-4)
    for bag, expected in figures["first8_of_bags"].items():
        found = gradient[int(bag), :8]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-6)
    gradients = [p.grad for p in trained.network.parameters() if p.grad is not None]
    lengths = [float(each.double().norm()) for each in gradients]
    # Of biases there is little: what bags of one kind add, those of the other take away.
    assert lengths == pytest.approx(FACTS["grad_l2"], rel=1e-5, abs=1e-5 * max(lengths))
