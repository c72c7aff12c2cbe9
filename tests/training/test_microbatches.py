"""Steps by microbatches equal steps by whole batches."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from oddframe.methods.mil.urdmu_network import UrDmuNetwork
from oddframe.methods.registry import get_method, method_names
from oddframe.training import step as steps
from oddframe.training.step import TrainingRun, microbatches, update_average
from tests.training.planted import SMALL, planted, small_config

SEPARABLE = [name for name in method_names() if get_method(name).supports_microbatches]


def after_two_steps(name: str, snippets: int, monkeypatch: pytest.MonkeyPatch) -> TrainingRun:
    monkeypatch.setattr(steps, "_MICROBATCH_SNIPPETS", snippets)
    config: dict[str, Any] = {"name": name}
    if name == "ur_dmu":  # Parts draw other chance than a whole: none here.
        config["config"] = SMALL | {"dropout": 0.0}
    if name == "oddframe":
        config["config"] = {"hidden": 8, "heads": 2, "head_dim": 4, "dropout": 0.0}
    made = small_config(name, recipe={"normal_bags": 6, "abnormal_bags": 6})
    made = made.model_copy(update={"method": type(made.method)(**config)})
    torch.manual_seed(0)
    run = TrainingRun(planted(9, 9, seed=1)[0], made, torch.device("cpu"), None)
    losses = [run.step(step) for step in (1, 2)]
    run.losses = [{"total": loss.total, **loss.terms} for loss in losses]  # type: ignore[attr-defined]
    return run


@pytest.mark.parametrize("name", SEPARABLE)
def test_microbatches_take_the_same_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UrDmuNetwork, "noise", lambda _, like: torch.zeros_like(like))
    whole, parted = (after_two_steps(name, n, monkeypatch) for n in (10_000, 2 * 2 * 8))
    assert (len(whole.microbatches), len(parted.microbatches)) == (1, 3)
    for ours, theirs in zip(whole.losses, parted.losses, strict=True):  # type: ignore[attr-defined]
        for term, value in ours.items():
            torch.testing.assert_close(theirs[term], value, rtol=1e-5, atol=1e-6, msg=term)
    theirs = dict(parted.network.named_parameters())
    for key, weight in whole.network.named_parameters():
        torch.testing.assert_close(theirs[key], weight, rtol=1e-4, atol=1e-5, msg=key)


def test_a_method_gets_the_share_of_steps_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    monkeypatch.setattr(
        type(get_method("linear")), "begin_step", lambda *given: told.append(given[2])
    )
    config = small_config("linear", recipe={"steps": 4})
    run = TrainingRun(planted(5, 5, seed=1)[0], config, torch.device("cpu"), None)
    for step in range(1, 5):
        run.step(step)
    assert told == [0.0, 0.25, 0.5, 0.75]


@given(
    st.integers(1, 64), st.integers(1, 64), st.integers(1, 300), st.integers(1, 6), st.booleans()
)
def test_microbatches_pair_bags_and_have_each_once(
    normal: int, abnormal: int, segments: int, tiles: int, same: bool
) -> None:
    abnormal = normal if same else abnormal
    recipe = {"normal_bags": normal, "abnormal_bags": abnormal, "segments": segments}
    parts = microbatches(small_config("linear", recipe=recipe), tiles)
    rows = sorted(int(row) for part in parts for row in part)
    assert rows == list(range(normal + abnormal))
    if len(parts) > 1:
        for part in parts:
            half = len(part) // 2
            assert (part[half:] - part[:half] == normal).all()
            assert len(part) == len(parts[0])
            assert half == 1 or len(part) * segments * tiles <= 4_096
    else:
        whole = normal != abnormal
        assert whole or normal == 1 or 2 * normal * segments * tiles <= 4_096


@pytest.mark.parametrize("name", sorted(set(method_names()) - set(SEPARABLE)))
def test_other_methods_have_one_microbatch(name: str) -> None:
    recipe = {"normal_bags": 64, "abnormal_bags": 64, "segments": 200}
    assert len(microbatches(small_config(name, recipe=recipe), 1)) == 1


def test_averaged_weights_have_averaged_statistics() -> None:
    """The latest statistics under averaged weights turned BN-WVAD's distances around."""
    torch.manual_seed(0)
    linear, norm = torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3)
    network = torch.nn.Sequential(linear, norm)
    average = deepcopy(network)
    batch = torch.randn(512, 4)
    for step in range(1, 501):
        with torch.no_grad():  # Weights that drift all the time, as those of a training do.
            linear.bias += 0.05
        network(batch)
        update_average(average, network, 0.98, step)

    def off(layers: torch.nn.Sequential, mean: Tensor | None) -> float:
        """How far the statistics lie behind what the weights give."""
        with torch.no_grad():
            return float((layers[0](batch).mean(0) - mean).abs().max())

    averaged = average[1].running_mean
    assert isinstance(averaged, Tensor)
    lag = off(network, norm.running_mean)
    assert lag == pytest.approx(0.45, rel=0.05)  # By momentum 0.1: nine steps.
    assert off(average, averaged) == pytest.approx(lag, rel=0.05)
    assert off(average, norm.running_mean) > 4 * lag
    assert average[1].num_batches_tracked == 500  # A count has no mean.
