"""RTFM against values that its published code printed, on features of length 2048."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from oddframe.methods.base import Loss
from oddframe.methods.losses import top_k_indices
from oddframe.methods.mil.rtfm import RtfmConfig, RtfmNetwork, RtfmOutput
from oddframe.methods.registry import get_method
from tests.methods import formula
from tests.methods.parity import (
    Facts,
    Watch,
    adam,
    gradients_close,
    step_close,
    tensor_close,
    value_close,
)

METHOD = get_method("rtfm")
CONFIG = RtfmConfig(dropout=0.0)
LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def facts(parity: Path) -> Facts:
    found: Facts = json.loads((parity / "rtfm_A.json").read_text())
    return found


@pytest.fixture(scope="module")
def network(facts: Facts) -> RtfmNetwork:
    made = RtfmNetwork(2048, CONFIG)
    assert sum(p.numel() for p in made.parameters()) == 24_718_849
    formula.fill(made, facts["tensors"], facts["seed_S"])
    return made


class Step:
    """One pass over four videos of ten crops, in training."""

    def __init__(self, facts: Facts, network: RtfmNetwork):
        self.network = deepcopy(network).train()
        self.seen = Watch(self.network)
        self.bags = formula.features((4, 10, 32, 2048), facts["seed_S"])
        self.output: RtfmOutput = self.network(self.bags, LABELS)
        self.loss: Loss = METHOD.loss(self.output, LABELS, CONFIG)
        self.loss.total.backward()


@pytest.fixture(scope="module")
def trained(facts: Facts, network: RtfmNetwork) -> Step:
    return Step(facts, network)


@pytest.mark.parametrize("length", [32, 50])
@pytest.mark.parametrize("crops", [1, 10])
def test_scores(facts: Facts, network: RtfmNetwork, length: int, crops: int) -> None:
    network.eval()
    bags = formula.features((1, crops, length, 2048), facts["seed_S"])
    expected = facts["eval"][f"T{length}_crops{crops}"]
    with torch.inference_mode():
        value_close(network(bags).scores, [expected["scores"]], facts, "eval")
        out = network(bags, torch.zeros(1))  # Dropout is 0.
    name = "feat_magnitudes_mean_over_crops"
    value_close(out.magnitude, [expected[name]], facts, "eval")


def test_intermediates(facts: Facts, trained: Step) -> None:
    for name, figures in facts["train_intermediates"].items():
        (found,) = trained.seen.outputs[name]
        # Videos come one after the other here, crops in the published code; the first is the same.
        tensor_close(found, figures, facts, "train_intermediates")


def test_selected_snippets(facts: Facts, trained: Step) -> None:
    # The published code lists them in the order of its batch: normal videos, then abnormal ones.
    for video, figures in zip(
        trained.output.choice.detach(), facts["train_selection"], strict=True
    ):
        chosen = top_k_indices(video[None], figures["k"])[0].sort().values
        assert chosen.tolist() == figures["indices_sorted"]
        ranked = video.sort(descending=True).values
        gap = (ranked[2] - ranked[3]).item()
        assert gap == pytest.approx(figures["gap_k_to_k1"], abs=1e-5 * ranked[0].item())


def test_training_scores_and_lengths(facts: Facts, trained: Step) -> None:
    out = trained.output
    section = "train_scores_video_order_n0_n1_a0_a1"
    value_close(out.scores, facts[section], facts, section)
    section = "train_feat_magnitudes_mean_over_crops"
    value_close(out.magnitude, facts[section], facts, section)


def test_loss_terms(facts: Facts, trained: Step) -> None:
    terms, expected = trained.loss.terms, facts["train_losses"]
    found = {
        "loss_cls_bce": terms["cls"],
        "loss_rtfm_magnitude_before_alpha": terms["magnitude"],
        "RTFM_loss = cls + 0.0001*rtfm": terms["cls"] + 1e-4 * terms["magnitude"],
        "loss_smooth (x8e-4)": 8e-4 * terms["smooth"],
        "loss_sparse (x8e-3)": 8e-3 * terms["sparse"],
        "total_loss": trained.loss.total,
    }
    for name, value in found.items():
        value_close(value, expected[name], facts, "train_losses")


def test_gradients(facts: Facts, trained: Step) -> None:
    gradients_close(trained.network, facts["grad_l2"], facts)


def test_running_statistics(facts: Facts, trained: Step) -> None:
    state, section = trained.network.state_dict(), "running_stats_l2_after_one_train_forward"
    for name, figure in facts[section].items():
        value_close(state[name].norm(), figure, facts, section)


def test_the_first_adam_step(facts: Facts, network: RtfmNetwork, trained: Step) -> None:
    made, expected = deepcopy(network).train(), facts["adam3"]
    groups = METHOD.parameter_groups(made, CONFIG)
    losses = adam(
        made,
        groups,
        expected,
        lambda: METHOD.loss(made(trained.bags, LABELS), LABELS, CONFIG).total,
    )
    section = "adam3/loss_before_each_step"
    step_close(losses[0], expected["loss_before_each_step"][0], facts, section)
    step_close(losses[1], expected["loss_before_each_step"][1], facts, section)
