"""PEL4VAD's visual branch against values that its published code printed.

The published loss has a second term, on features of prompts, which ours leaves out: values that
depend on it (gradients, steps) are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from oddframe.methods.mil.pel4vad import Pel4VadConfig, Pel4VadNetwork, smooth_logits
from oddframe.methods.registry import get_method
from tests.methods import formula
from tests.methods.parity import Facts, Watch, row_close, tensor_close, value_close

METHOD = get_method("pel4vad")
SETTINGS = ("ucf", "xd")


@pytest.fixture(scope="module")
def facts(parity: Path) -> Facts:
    found: Facts = json.loads((parity / "pel4vad_A.json").read_text())
    return found


def made(facts: Facts, setting: str) -> Pel4VadNetwork:
    network = Pel4VadNetwork(facts["dim"], Pel4VadConfig(setting=setting, dropout=0.0))
    rows = [row for row in facts["configs"][setting]["tensors"] if row["name"] != "logit_scale"]
    formula.fill(network, rows, facts["seed_S"])
    return network


def known(ours: Tensor, figures: Any, facts: Facts, section: str) -> None:
    if isinstance(figures, Mapping):
        row_close(ours, figures, facts, section)
    else:
        value_close(ours, figures, facts, section)


@pytest.mark.parametrize("setting", SETTINGS)
def test_settings_are_the_published_ones(facts: Facts, setting: str) -> None:
    config, theirs = Pel4VadConfig(setting=setting), facts["configs"][setting]["config"]
    assert (config.window, config.gamma, config.bias) == (9, theirs["gamma"], theirs["bias"])
    assert (config.power_norm, config.kernel) == (theirs["norm"], theirs["t_step"])
    assert (config.smooth, config.smooth_width) == (theirs["smooth"], theirs["kappa"])
    assert (config.width, config.out) == (theirs["hid_dim"], theirs["out_dim"])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("length", [37, 200])
def test_scores_and_intermediates(facts: Facts, setting: str, length: int) -> None:
    network = made(facts, setting)
    seen, section = Watch(network), f"configs/{setting}/eval"
    expected = facts["configs"][setting]["eval"][f"B2_T{length}"]
    bags = formula.features((2, length, facts["dim"]), facts["seed_S"])
    with torch.inference_mode():
        raw = network(bags, torch.zeros(2))  # As in training: not smoothed.
    for ours, figures in zip(raw.scores, expected["scores"], strict=True):
        known(ours, figures, facts, section)
    for name, figures in expected["intermediates"].items():
        (found,) = seen.outputs[name]
        tensor_close(found, figures, facts, section)

    # The published test takes the mean over a video's crops first, then smooths.
    config = network.config
    mean = raw.scores.mean(0, keepdim=True).logit()
    smooth = smooth_logits(mean, config.smooth, config.smooth_width).sigmoid()[0]
    known(smooth, expected["mean_over_batch_smoothed"], facts, section)
    if "smoothed_last8" in expected:
        value_close(smooth[-8:], expected["smoothed_last8"], facts, section)
    with torch.inference_mode():
        crops = network(bags[None]).scores[0]  # The same in the other order.
    known(crops, expected["mean_over_batch_smoothed"], facts, section)


@pytest.mark.parametrize("setting", SETTINGS)
def test_training_scores_and_loss(facts: Facts, setting: str) -> None:
    network, expected = made(facts, setting), facts["configs"][setting]
    bags = formula.features((4, 200, facts["dim"]), facts["seed_S"])
    bags[1::2, 137:] = 0
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0])
    with torch.no_grad():
        output = network(bags, labels)
    for ours, figures in zip(output.scores, expected["train_scores"], strict=True):
        row_close(ours, figures, facts, f"configs/{setting}/train_scores")
    # Padded videos there: each of the four is compared by its own length.
    losses = [
        METHOD.loss(
            type(output)(output.scores[i : i + 1, :n], output.logits),
            labels[i : i + 1],
            network.config,
        )
        for i, n in enumerate((200, 137, 200, 137))
    ]
    mean = torch.stack([loss.total for loss in losses]).mean()
    section = f"configs/{setting}/train_losses"
    value_close(mean, expected["train_losses"]["loss1 (MIL BCE)"], facts, section)
