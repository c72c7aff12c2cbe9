"""UR-DMU against values that its published code printed.

A small part of them is in ``data/``; all of them are in ``../shared/parity``.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oddframe.methods.base import Loss
from oddframe.methods.losses import top_k_indices
from oddframe.methods.mil.urdmu import ur_dmu_loss
from oddframe.methods.mil.urdmu_network import MemoryReadout, UrDmuConfig, UrDmuNetwork, UrDmuOutput
from tests.methods import formula
from tests.methods.parity import (
    Facts,
    Watch,
    gradients_close,
    row_close,
    step_close,
    tensor_close,
    value_close,
)

PART = Path(__file__).parent / "data" / "urdmu_1024_part.json"
CONFIG = UrDmuConfig(dropout=0.0)
LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])
# The published code's name of each term.
TERMS = {
    "cls": "att_loss",
    "dm_n_of_abnormal": "N_Aatt",
    "dm_a_of_abnormal": "A_loss",
    "dm_n_of_normal": "N_loss",
    "dm_a_of_normal": "A_Nloss",
    "trip": "triplet",
    "kl": "kl_loss",
    "dis": "distance",
}


class FixedNoise(UrDmuNetwork):
    """The network with noise by formula."""

    seed: float

    def noise(self, like: Tensor) -> Tensor:
        return formula.noise(like, self.seed)


def filled(facts: Facts) -> FixedNoise:
    network = FixedNoise(facts["dim"], CONFIG)
    network.seed = facts["seed_S"]
    formula.fill(network, facts["tensors"], facts["seed_S"])
    return network


def scores(network: UrDmuNetwork, facts: Facts, *shape: int) -> Tensor:
    with torch.inference_mode():
        return network(formula.features((*shape, facts["dim"]), facts["seed_S"])).scores


@dataclass
class Step:
    """A forward and backward pass in training, with the tensors between modules."""

    facts: Facts
    network: FixedNoise
    output: UrDmuOutput
    loss: Loss
    inputs: dict[str, list[Tensor]]
    outputs: dict[str, list[Any]]


def step(facts: Facts, network: FixedNoise) -> Step:
    seen = Watch(network)
    output = network(formula.features((4, 200, facts["dim"]), facts["seed_S"]), LABELS)
    loss = ur_dmu_loss(output, LABELS, CONFIG)
    loss.total.backward()
    return Step(facts, network, output, loss, seen.inputs, seen.outputs)


@pytest.fixture(scope="module", params=["1024", "1152"])
def whole(request: pytest.FixtureRequest, parity: Path) -> Facts:
    facts: Facts = json.loads((parity / f"urdmu_{request.param}_A.json").read_text())
    return facts


@pytest.fixture(scope="module")
def network(whole: Facts) -> FixedNoise:
    return filled(whole)


@pytest.fixture(scope="module")
def trained(whole: Facts, network: FixedNoise) -> Step:
    return step(whole, deepcopy(network))


def check_losses(done: Step) -> None:
    expected = done.facts["train_losses"]
    for ours, theirs in TERMS.items():
        value_close(done.loss.terms[ours], expected[theirs], done.facts, "train_losses")
    value_close(done.loss.total, expected["total_loss"], done.facts, "train_losses")
    parts = ("N_loss", "A_Nloss", "A_loss", "N_Aatt")
    dm = sum(expected[part] for part in parts)
    value_close(done.loss.terms["dm"], dm, done.facts, "train_losses")


def check_gradients(done: Step) -> None:
    expected = done.facts["grad_l2"]
    assert {name for name, _ in done.network.named_parameters()} == set(expected)
    gradients_close(done.network, expected, done.facts)


def test_the_committed_part() -> None:
    facts = json.loads(PART.read_text())
    done = step(facts, filled(facts))
    for length in (1, 5):
        expected = [facts["eval"][f"T{length}"]["scores"]]
        value_close(scores(done.network, facts, 1, length), expected, facts, "eval")
    check_losses(done)
    check_gradients(done)


@pytest.mark.parametrize("length", [1, 5, 37])
def test_scores(whole: Facts, network: FixedNoise, length: int) -> None:
    expected = [whole["eval"][f"T{length}"]["scores"]]
    value_close(scores(network, whole, 1, length), expected, whole, "eval")


def test_scores_of_200_snippets_and_of_ten_crops(whole: Facts, network: FixedNoise) -> None:
    expected = whole["eval"]["T200"]
    got = scores(network, whole, 1, 200)
    row_close(got[0], expected, whole, "eval")
    ten = whole["eval"]["T37_10crop_4d_input_b1_n10"]
    value_close(scores(network, whole, 1, 10, 37), [ten["scores"]], whole, "eval")


def test_intermediates(trained: Step) -> None:
    normal, abnormal = slice(0, 2), slice(2, 4)
    anomaly: MemoryReadout = trained.outputs["Amemory"][0]
    known: MemoryReadout = trained.outputs["Nmemory"][0]
    anomaly_mu, normal_mu = trained.outputs["encoder_mu"]
    fused = trained.inputs["cls_head"][0]
    found = {
        "embedding": trained.outputs["embedding"][0].transpose(1, 2),
        "block0_after_attention_residual": trained.inputs["selfatt.layers.0.1"][0],
        "block0_after_mlp_residual": trained.inputs["selfatt.layers.1.0"][0],
        "block1_after_attention_residual": trained.inputs["selfatt.layers.1.1"][0],
        "block1_after_mlp_residual": trained.output.hidden,
        "slot_attention_anomaly_memory_on_abnormal_videos_BTK": anomaly.weights[abnormal],
        "slot_attention_anomaly_memory_on_normal_videos_BTK": anomaly.weights[normal],
        "slot_attention_normal_memory_on_abnormal_videos_BTK": known.weights[abnormal],
        "slot_attention_normal_memory_on_normal_videos_BTK": known.weights[normal],
        "temporal_score A_att: abnormal videos, anomaly memory": anomaly.score[abnormal],
        "temporal_score N_Aatt: abnormal videos, normal memory": known.score[abnormal],
        "temporal_score A_Natt: normal videos, anomaly memory": anomaly.score[normal],
        "temporal_score N_att: normal videos, normal memory": known.score[normal],
        "readout_before_encoder_mu N_aug_mu(normal vid, normal mem)": known.value[normal],
        "encoder_mu N_aug_mu(normal vid, normal mem)": normal_mu[normal],
        "readout_before_encoder_mu A_aug_new(abnormal vid, anomaly mem)": anomaly.value[abnormal],
        "encoder_mu A_aug_new(abnormal vid, anomaly mem)": anomaly_mu[abnormal],
        "readout_before_encoder_mu A_Naug(normal vid, anomaly mem)": anomaly.value[normal],
        "encoder_mu A_Naug(normal vid, anomaly mem)": anomaly_mu[normal],
        "readout_before_encoder_mu N_Aaug(abnormal vid, normal mem)": known.value[abnormal],
        "encoder_mu N_Aaug(abnormal vid, normal mem)": normal_mu[abnormal],
        "encoder_var N_aug_var(normal vid, normal mem)": trained.outputs["encoder_var"][0],
        "fused_input_of_cls_head_first_half": fused[..., :512],
        "fused_input_of_cls_head_second_half_normal_rows": fused[normal, :, 512:],
        "fused_input_of_cls_head_second_half_abnormal_rows": fused[abnormal, :, 512:],
    }
    expected = trained.facts["train_intermediates"]
    assert set(found) == set(expected)
    for name, figures in expected.items():
        tensor_close(found[name], figures, trained.facts, "train_intermediates")


def test_selected_snippets(trained: Step) -> None:
    found = {
        "A_att": trained.output.anomaly_score[2:],
        "N_att": trained.output.normal_score[:2],
        "N_Aatt": trained.output.normal_score[2:],
    }
    expected = trained.facts["train_selection"]
    assert set(found) == set(expected)
    for name, videos in expected.items():
        for video, figures in zip(found[name].detach(), videos, strict=True):
            k = figures["k"]
            chosen = top_k_indices(video[None], k)[0].sort().values
            assert chosen.tolist() == figures["indices_sorted"], name
            ranked = video.sort(descending=True).values
            gap = (ranked[k - 1] - ranked[k]).item()
            assert gap == pytest.approx(figures["gap_k_to_k1"], abs=1e-5 * ranked[0].item()), name


def test_training_scores(trained: Step) -> None:
    section = "train_scores_video_order_n0_n1_a0_a1"
    for video, figures in zip(trained.output.scores, trained.facts[section], strict=True):
        row_close(video, figures, trained.facts, section)


def test_loss_terms(trained: Step) -> None:
    check_losses(trained)


def test_gradients(trained: Step) -> None:
    check_gradients(trained)


def test_three_adam_steps(whole: Facts, network: FixedNoise) -> None:
    expected, network = whole["adam3"], deepcopy(network)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    adam = torch.optim.Adam(
        network.parameters(), lr=expected["lr"], weight_decay=expected["weight_decay"]
    )
    batch = formula.features((4, 200, whole["dim"]), whole["seed_S"])
    losses = []
    for _ in range(3):
        loss = ur_dmu_loss(network(batch, LABELS), LABELS, CONFIG).total
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    for got, figure in zip(losses, expected["loss_before_each_step"], strict=True):
        step_close(got, figure, whole, "adam3/loss_before_each_step")

    after = {name: p.detach() for name, p in network.named_parameters()}
    moved = {name: after[name] - before[name] for name in after}
    for section, tensors in (("param_l2_after", after), ("param_delta_l2", moved)):
        assert set(tensors) == set(expected[section])
        for name, figure in expected[section].items():
            step_close(tensors[name].double().norm(), figure, whole, f"adam3/{section}")
    figure = [expected["eval_scores_T5_after"]]
    step_close(scores(network, whole, 1, 5), figure, whole, "adam3/eval_scores_T5_after")
