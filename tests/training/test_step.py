"""The training step follows the configuration: rates, dropout, averages, features."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from oddframe.methods.base import Recipe
from oddframe.methods.layers import OneClassNetwork
from oddframe.methods.mil.oddframe import OddframeNetwork
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork
from oddframe.training.config import parse_config
from oddframe.training.loop import fit
from oddframe.training.one_class import fit_by_steps
from oddframe.training.step import OPTIMISERS, TrainingRun, first_view, make_optimiser
from tests.training.planted import DIM, planted, small_config

CPU = torch.device("cpu")
VIDEOS = planted(6, 6, seed=1)[0]


def a_run(
    method: str = "linear", recipe: dict[str, Any] | None = None, *, standardise: bool = True
) -> TrainingRun:
    config = small_config(method, recipe=recipe or {}, standardise=standardise)
    torch.manual_seed(0)
    return TrainingRun(VIDEOS, config, CPU, None)


def seen_by(run: TrainingRun) -> list[Tensor]:
    """What the method's network is given, step after step."""
    seen: list[Tensor] = []
    run.network.network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    return seen


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_optimiser_has_the_recipes_rate_and_decay(name: str) -> None:
    """Without a gradient, only the decay moves the weights."""
    weights = nn.Parameter(torch.tensor([2.0, -3.0]))
    made = make_optimiser(Recipe(optimiser=name, lr=0.1, weight_decay=0.5), [{"params": [weights]}])
    weights.grad = torch.zeros(2)
    made.step()
    # Decoupled: by lr * decay of themselves. Else a gradient of one sign, so by lr.
    expected = [2 - 0.1, -3 + 0.1] if name != "adamw" else [2 * 0.95, -3 * 0.95]
    torch.testing.assert_close(weights.detach(), torch.tensor(expected))
    still = nn.Parameter(torch.tensor([2.0]))
    made = make_optimiser(Recipe(optimiser=name, lr=0.1, weight_decay=0.0), [{"params": [still]}])
    still.grad = torch.zeros(1)
    made.step()
    assert still.item() == 2.0


@pytest.mark.parametrize("method", ["ur_dmu", "linear", "oddframe", "sultani"])
def test_a_run_takes_the_recipes_rates_and_the_methods_own_groups(method: str) -> None:
    run = a_run(method, {"lr": 0.02, "weight_decay": 0.3})
    own = run.method.parameter_groups(run.network.network, run.method_config)
    rates = {"lr": 0.02, "weight_decay": 0.3}
    for group, given in zip(run.optimiser.param_groups, own, strict=True):
        for name, rate in rates.items():
            assert group[name] == given.get(name, rate), name
    assert any("weight_decay" not in group for group in own)
    found = [p for group in run.optimiser.param_groups for p in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in run.parameters}


def test_the_linear_path_of_ur_dmu_has_rates_of_its_own() -> None:
    config = small_config(recipe={"lr": 0.02, "weight_decay": 0.3})
    own = {"shortcut": True, "shortcut_lr": 0.5, "shortcut_weight_decay": 0.25}
    method = config.method.model_copy(update={"config": config.method.config | own})
    run = TrainingRun(VIDEOS, config.model_copy(update={"method": method}), CPU, None)
    deep, linear = run.optimiser.param_groups
    assert (deep["lr"], deep["weight_decay"]) == (0.02, 0.3)
    assert (linear["lr"], linear["weight_decay"]) == (0.5, 0.25)
    assert [p.numel() for p in linear["params"]] == [DIM, 1]


def test_weight_decay_shortens_the_weights() -> None:
    def length(decay: float) -> float:
        recipe = {"weight_decay": decay, "steps": 20, "lr": 1e-2}
        network = fit(VIDEOS, small_config(recipe=recipe)).network
        return float(sum(p.detach().square().sum() for p in network.parameters()))

    assert length(1.0) < 0.9 * length(0.0)


def test_gradients_are_no_longer_than_the_recipe_says() -> None:
    def length(clip_norm: float | None) -> float:
        run = a_run(recipe={"clip_norm": clip_norm})
        run.step(1)
        squares = [p.grad.square().sum() for p in run.parameters if p.grad is not None]
        return float(torch.stack(squares).sum().sqrt())

    free = length(None)
    assert length(free / 4) == pytest.approx(free / 4, rel=1e-4)
    assert length(free * 4) == pytest.approx(free)


def test_the_moving_average_is_kept() -> None:
    run = a_run(recipe={"average": 0.6, "lr": 1e-2})
    by_hand = deepcopy(run.network.state_dict())
    for step in range(1, 16):
        run.step(step)
        decay = min(0.6, step / (step + 9))
        for name, value in run.network.state_dict().items():
            by_hand[name] = decay * by_hand[name] + (1 - decay) * value
    for name, value in run.eval_network().state_dict().items():
        torch.testing.assert_close(value, by_hand[name])
    last = run.network.state_dict()["network.score.weight"]
    assert (last - by_hand["network.score.weight"]).abs().max() > 1e-3
    plain = a_run(recipe={"average": 0.0})
    assert plain.eval_network() is plain.network


@pytest.mark.parametrize("standardise", [False, True])
def test_noise_is_in_deviations_of_each_dimension(standardise: bool) -> None:
    runs = [
        a_run(recipe={"feature_noise": noise, "segments": 64}, standardise=standardise)
        for noise in (0.0, 0.5)
    ]
    plain, noisy = (seen_by(run) for run in runs)
    for run in runs:
        run.step(1)
    added = (noisy[0] - plain[0]).flatten(0, 1)
    spread = torch.ones(DIM) if standardise else plain[0].flatten(0, 1).std(0, correction=0)
    assert added.std() > 0.4
    torch.testing.assert_close(added.std(0) / spread, torch.full((DIM,), 0.5), rtol=0.15, atol=0)
    assert added.mean().abs() < 0.1


@pytest.mark.parametrize("standardise", [False, True])
def test_feature_dropout_sets_dimensions_to_their_mean(standardise: bool) -> None:
    recipe = {"feature_dropout": 0.25, "normal_bags": 16, "abnormal_bags": 16}
    runs = [
        a_run(recipe={**recipe, "feature_dropout": share}, standardise=standardise)
        for share in (0.0, 0.25)
    ]
    plain, gaps = (seen_by(run) for run in runs)
    for run in runs:
        run.step(1)
    gone = (plain[0] != gaps[0]).any(dim=1)  # (B, D)
    assert 0.15 < gone.float().mean() < 0.35
    mean = torch.zeros(DIM) if standardise else plain[0].mean(dim=(0, 1))
    expected = torch.where(gone[:, None], mean, plain[0])
    torch.testing.assert_close(gaps[0], expected)


def test_features_are_standardised_over_all_training_snippets_or_not_at_all() -> None:
    x = np.concatenate([view for video in VIDEOS for view in video.views])
    given = a_run().network.standardise
    np.testing.assert_allclose(given.mean, x.mean(0), rtol=1e-4)
    np.testing.assert_allclose(given.std, x.std(0), rtol=1e-4)
    plain = a_run(standardise=False).network.standardise
    assert torch.equal(plain.mean, torch.zeros(DIM))
    assert torch.equal(plain.std, torch.ones(DIM))
    run = a_run(recipe={"segments": 64})
    seen = seen_by(run)
    run.step(1)
    assert seen[0].std().item() == pytest.approx(1, abs=0.2)


def test_training_starts_from_pretrained_weights() -> None:
    start = a_run().network
    with torch.no_grad():
        start.network.get_parameter("score.weight").normal_()
        start.standardise.mean += 1.0
        start.temperature.fill_(7.0)
    run = TrainingRun(VIDEOS, small_config("linear"), CPU, start)
    for name, value in run.network.state_dict().items():
        if name != "temperature":
            assert torch.equal(value, start.state_dict()[name]), name
    assert run.network.temperature == 1.0  # It belongs to the logits that there were.


def test_dropout_is_only_on_in_training() -> None:
    run = a_run("ur_dmu", {"average": 0.0})
    modes: list[bool] = []
    run.network.network.register_forward_pre_hook(lambda network, _: modes.append(network.training))
    run.step(1)
    run.eval_network()(torch.zeros(1, 5, DIM))
    run.resume_training()
    run.step(2)
    assert modes == [True, False, True]

    def trained(dropout: float) -> Tensor:
        config = small_config(recipe={"steps": 3})
        method = config.method.model_copy(
            update={"config": config.method.config | {"dropout": dropout}}
        )
        network = fit(VIDEOS, config.model_copy(update={"method": method})).network
        return network.state_dict()["network.cls_head.mlp.0.weight"]

    assert not torch.equal(trained(0.0), trained(0.5))


def test_normal_statistics_are_learned_from_normal_videos() -> None:
    config = small_config("oddframe", recipe={"steps": 2})
    network = fit(VIDEOS, config).network
    assert isinstance(network.network, OddframeNetwork)
    normal = [video.views[0] for video in VIDEOS if not video.abnormal]
    x = network.standardise(torch.from_numpy(np.concatenate(normal)))
    torch.testing.assert_close(network.network.distance.mean, x.mean(0), rtol=1e-4, atol=1e-5)
    everything = np.concatenate([video.views[0] for video in VIDEOS])
    others = network.standardise(torch.from_numpy(everything)).mean(0)
    assert (network.network.distance.mean - others).abs().max() > 0.05


def test_every_method_is_calibrated_on_the_normal_videos(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def calibrate(_method: object, _network: nn.Module, normal: Iterable[Tensor]) -> None:
        seen.extend(x.shape[1] for x in normal)

    monkeypatch.setattr(type(get_method("linear")), "calibrate", calibrate)
    fit(VIDEOS, small_config("linear", recipe={"lr": 1e-2, "steps": 1}))
    normal = [len(video.views[0]) for video in VIDEOS if not video.abnormal]
    assert seen[-len(normal) :] == normal
    assert len(seen) % len(normal) == 0


def test_the_temperature_brings_95_percent_of_logits_into_range() -> None:
    config = small_config("linear", recipe={"lr": 1.0, "steps": 12})
    network: ModelNetwork = fit(VIDEOS, config).network
    with torch.inference_mode():
        logits = [
            network.network(network.standardise(first_view(video, CPU))).logits.flatten()
            for video in VIDEOS
        ]
    size = torch.cat(logits).abs().double()
    assert size.median() > 8
    assert network.temperature.item() == pytest.approx(float(size.quantile(0.95)) / 4, rel=1e-4)
    calm = small_config("linear", recipe={"lr": 1e-3, "steps": 12})
    assert fit(VIDEOS, calm).network.temperature == 1.0


def test_one_class_steps_use_average_and_clipping_of_the_recipe() -> None:
    small = {"frames": 1, "widths": [4, 4, 4], "kernel": 1, "stride": 1}
    x = torch.rand(24, 16, generator=torch.Generator().manual_seed(0))

    def trained(**recipe: Any) -> tuple[OneClassNetwork, OneClassNetwork]:
        """The network after the last step, and what is kept."""
        own = {"steps": 5, "normal_bags": 8, "lr": 1e-2, "average": 0.0} | recipe
        config = parse_config({"method": {"name": "hasan", "config": small}, "recipe": own})
        method, method_config = config.chosen_method()
        torch.manual_seed(0)
        network = method.network(16, method_config)
        assert isinstance(network, OneClassNetwork)
        with torch.no_grad():
            network.fit_snippets(x)
        return network, fit_by_steps(network, x, config)

    last, kept = trained()
    assert kept is last
    last, kept = trained(average=0.9)
    pairs = zip(last.parameters(), kept.parameters(), strict=True)
    assert any((ours - theirs).abs().max() > 1e-4 for ours, theirs in pairs)

    def length(network: OneClassNetwork) -> float:
        squares = [p.grad.square().sum() for p in network.parameters() if p.grad is not None]
        return float(torch.stack(squares).sum().sqrt())

    free = length(trained(steps=1)[0])
    assert length(trained(steps=1, clip_norm=free / 4)[0]) == pytest.approx(free / 4, rel=1e-4)
