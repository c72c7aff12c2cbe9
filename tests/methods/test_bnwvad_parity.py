"""BN-WVAD against values that its published code printed, on features of length 1024."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from oddframe.methods.base import Loss
from oddframe.methods.mil.bnwvad import BnWvadNetwork, BnWvadOutput, select_abnormal
from oddframe.methods.registry import get_method
from tests.methods import formula
from tests.methods.parity import (
    Facts,
    Watch,
    gradients_close,
    step_close,
    tensor_close,
    value_close,
)

METHOD = get_method("bn_wvad")
CONFIG = METHOD.Config()
LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])
FACTS: Facts = json.loads(
    (Path(__file__).parent / "data" / "bn_wvad_1024.json").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def network() -> BnWvadNetwork:
    made = BnWvadNetwork(FACTS["dim"], CONFIG)
    rows = {row["name"]: row for row in FACTS["tensors"]}
    # The scale of the scores is ours; 1 leaves the published criterion as it is.
    rows |= {name: {"name": name, "kind": "kept", "value": 1.0} for name in ("edge", "slope")}
    formula.fill(made, [rows.pop(name) for name in made.state_dict()], FACTS["seed_S"])
    assert not rows
    return made


class Step:
    """One pass over four videos in training."""

    def __init__(self, network: BnWvadNetwork) -> None:
        self.network = deepcopy(network).train()
        self.seen = Watch(self.network)
        self.bags = formula.features(FACTS["setup"]["train"], FACTS["seed_S"])
        self.output: BnWvadOutput = self.network(self.bags, LABELS)
        self.loss: Loss = METHOD.loss(self.output, LABELS, CONFIG)
        self.loss.total.backward()


@pytest.fixture(scope="module")
def trained(network: BnWvadNetwork) -> Step:
    return Step(network)


@pytest.mark.parametrize("length", [1, 5, 37])
def test_scores(network: BnWvadNetwork, length: int) -> None:
    bags = formula.features((1, length, FACTS["dim"]), FACTS["seed_S"])
    with torch.inference_mode():
        found = network.eval()(bags).logits.exp()
    value_close(found, [FACTS["eval"][f"T{length}_crops1"]], FACTS, "eval")


def test_scores_of_several_crops(network: BnWvadNetwork) -> None:
    """The published code averages distances and head scores, then multiplies them."""
    bags = formula.features((5, 37, FACTS["dim"]), FACTS["seed_S"])
    with torch.inference_mode():
        out = network.eval()(bags, torch.zeros(5))
    found = (out.first + out.second).mean(0) * out.head_scores.mean(0)
    value_close(found, FACTS["eval"]["T37_crops5"], FACTS, "eval")


def test_intermediates(trained: Step) -> None:
    for name, figures in FACTS["train_intermediates"].items():
        (found,) = trained.seen.outputs[name]
        if name == "embedding":  # Channels before snippets here, after them there.
            found = found.mT
        tensor_close(found, figures, FACTS, "train_intermediates")


def test_training_scores_and_distances(trained: Step) -> None:
    section = "train_scores_of_normal"
    value_close(trained.output.head_scores[:2], FACTS[section], FACTS, section)
    for name, figures in FACTS["train_distances"].items():
        value_close(getattr(trained.output, name), figures, FACTS, "train_distances")


def test_selected_snippets(trained: Step) -> None:
    out = trained.output
    for distance, figures in zip((out.first, out.second), FACTS["selected"], strict=True):
        odd = select_abnormal(distance[2:], CONFIG)
        assert odd.sum() == figures["count"]
        total = distance[2:][odd].sum()
        value_close(total, figures["abnormal_distances_sum"], FACTS, "selected")


def test_loss_terms(trained: Step) -> None:
    terms, expected = trained.loss.terms, FACTS["train_losses"]
    found: dict[str, Tensor] = {
        "normal_loss": terms["normal"],
        "triplet_first": terms["first"],
        "triplet_second": terms["second"],
        "mpp_loss": 5 * terms["first"] + 20 * terms["second"],
        "total_loss": trained.loss.total,
    }
    for name, value in found.items():
        value_close(value, expected[name], FACTS, "train_losses")


def test_gradients(trained: Step) -> None:
    gradients_close(trained.network, FACTS["grad_l2"], FACTS)
    for name, parameter in trained.network.named_parameters():
        assert parameter.grad is not None
        first = parameter.grad.flatten()[:3]
        step_close(first, FACTS["grad_first3"][name], FACTS, "grad_first3")


def test_running_statistics(trained: Step) -> None:
    state, section = trained.network.state_dict(), "running_stats_l2_after_one_train_forward"
    for name, figure in FACTS[section].items():
        value_close(state[name].norm(), figure, FACTS, section)


def test_three_adam_steps(network: BnWvadNetwork, trained: Step) -> None:
    made, recipe = deepcopy(network).train(), METHOD.recipe
    groups = METHOD.parameter_groups(made, CONFIG)
    optimiser = torch.optim.Adam(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
    losses = []
    for _ in range(3):
        total = METHOD.loss(made(trained.bags, LABELS), LABELS, CONFIG).total
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        assert recipe.clip_norm is not None
        clip_grad_norm_(made.parameters(), recipe.clip_norm)
        optimiser.step()
        losses.append(total.item())
    section = "adam3/loss_before_each_step"
    expected = FACTS["adam3"]["loss_before_each_step"]
    for found, figure in zip(losses, expected, strict=True):
        step_close(found, figure, FACTS, section)
    found = dict(made.named_parameters())
    for name, figure in FACTS["adam3"]["param_l2_after"].items():
        step_close(found[name].norm(), figure, FACTS, "adam3/param_l2_after")
