"""HL-Net against values that its published code printed, with sound (D = 1152) and without."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from oddframe.methods.base import Loss
from oddframe.methods.losses import top_k_indices
from oddframe.methods.mil.hlnet import HlNetConfig, HlNetNetwork, HlNetOutput
from oddframe.methods.registry import get_method
from tests.methods import formula
from tests.methods.parity import (
    Facts,
    Watch,
    adam,
    gradients_close,
    row_close,
    step_close,
    tensor_close,
    value_close,
)

METHOD = get_method("hl_net")
CONFIG = HlNetConfig(dropout=0.0)
LABELS = torch.tensor([0.0, 1.0])


@pytest.fixture(scope="module", params=["hlnet_A", "hlnet_1024_A"])
def facts(request: pytest.FixtureRequest, parity: Path) -> Facts:
    found: Facts = json.loads((parity / f"{request.param}.json").read_text())
    return found


@pytest.fixture(scope="module")
def network(facts: Facts) -> HlNetNetwork:
    made = HlNetNetwork(facts["dim"], CONFIG)
    formula.fill(made, facts["tensors"], facts["seed_S"])
    return made


def padded(facts: Facts) -> Tensor:
    """Two videos of 200 and of 137 snippets."""
    bags = formula.rectified((2, 200, facts["dim"]), facts["seed_S"])
    bags[1, 137:] = 0
    return bags


class Step:
    """One pass over two videos in training."""

    def __init__(self, facts: Facts, network: HlNetNetwork):
        self.network = deepcopy(network)
        self.seen = Watch(self.network)
        self.bags = padded(facts)
        self.output: HlNetOutput = self.network(self.bags, LABELS)
        self.loss: Loss = METHOD.loss(self.output, LABELS, CONFIG)
        self.loss.total.backward()


@pytest.fixture(scope="module")
def trained(facts: Facts, network: HlNetNetwork) -> Step:
    return Step(facts, network)


def known(ours: Tensor, figures: Any, facts: Facts) -> None:
    if isinstance(figures, dict):
        row_close(ours, figures, facts, "eval")
    else:
        value_close(ours, figures, facts, "eval")


@pytest.mark.parametrize("length", [1, 5, 37, 200])
def test_scores(facts: Facts, network: HlNetNetwork, length: int) -> None:
    bags = formula.rectified((1, length, facts["dim"]), facts["seed_S"])
    expected = facts["eval"][f"T{length}_seq_len_None"]
    with torch.inference_mode():
        out, training = network(bags), network(bags, torch.zeros(1))
    known(out.scores[0], expected["scores_offline"], facts)
    known(out.logits[0], expected["logits_offline"], facts)
    known(training.online[0], expected["logits_online"], facts)
    known(training.online[0].sigmoid(), expected["scores_online"], facts)


def test_videos_of_different_lengths(facts: Facts, network: HlNetNetwork, trained: Step) -> None:
    expected, out = facts["eval"]["B2_T200_seq_len_200_137"], trained.output
    found = {
        "logits_offline": out.logits,
        "logits_online": out.online,
        "scores_offline": out.scores,
        "scores_online": out.online.sigmoid(),
    }
    for name, values in found.items():
        for video, figures in zip(values.detach(), expected[name], strict=True):
            row_close(video, figures, facts, "eval")
    rows = slice(137, 145)
    value_close(
        out.logits[1, rows], expected["padded_rows_video1_offline_logits_137_145"], facts, "eval"
    )
    value_close(
        out.online[1, rows], expected["padded_rows_video1_online_logits_137_145"], facts, "eval"
    )
    graphs = {
        "adj_similarity_softmax": network.holistic(trained.bags, out.valid),
        "adj_score": network.by_score(out.online, out.valid),
        "adj_distance": network.localised(trained.bags).expand(2, -1, -1),
    }
    for name, graph in graphs.items():
        tensor_close(graph, expected[name], facts, "eval")


def test_intermediates(facts: Facts, trained: Step) -> None:
    for name, figures in facts["eval_intermediates_B2"].items():
        (found,) = trained.seen.outputs[name]
        tensor_close(found, figures, facts, "eval_intermediates_B2")


def test_loss_terms(facts: Facts, trained: Step) -> None:
    expected, terms = facts["train_losses"], trained.loss.terms
    value_close(terms["cls"], expected["clsloss (offline)"], facts, "train_losses")
    value_close(terms["online"], expected["clsloss2 (online)"], facts, "train_losses")
    value_close(
        terms["distil"], expected["croloss (distillation, before x5)"], facts, "train_losses"
    )
    value_close(trained.loss.total, expected["total_loss"], facts, "train_losses")


def test_selected_snippets(facts: Facts, trained: Step) -> None:
    rows = {"offline": trained.output.logits, "online": trained.output.online}
    for head, logits in rows.items():
        expected = facts[f"train_selection_{head}"]
        for video, figures, n in zip(logits.detach(), expected, (200, 137), strict=True):
            chosen = top_k_indices(video[None, :n], figures["k"])[0].sort().values
            assert chosen.tolist() == figures["indices_sorted"]


def test_gradients(facts: Facts, trained: Step) -> None:
    gradients_close(trained.network, facts["grad_l2"], facts)


def test_three_adam_steps(facts: Facts, network: HlNetNetwork, trained: Step) -> None:
    made, expected = deepcopy(network), facts["adam3"]
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    groups = METHOD.parameter_groups(made, CONFIG)
    assert groups[1]["lr"] == expected["lr_online_branch"]
    losses = adam(
        made,
        groups,
        expected,
        lambda: METHOD.loss(made(trained.bags, LABELS), LABELS, CONFIG).total,
    )
    section = "adam3/loss_before_each_step"
    for loss, figure in zip(losses, expected["loss_before_each_step"], strict=True):
        step_close(loss, figure, facts, section)
    for name, parameter in made.named_parameters():
        after, moved = parameter.detach(), parameter.detach() - before[name]
        figure = expected["param_l2_after"].get(name)
        if figure is not None:
            step_close(after.double().norm(), figure, facts, "adam3/param_l2_after")
            way = expected["param_delta_l2"][name]
            if way:
                step_close(moved.double().norm(), way, facts, "adam3/param_delta_l2")
            else:
                assert np.isclose(moved.norm(), 0)
