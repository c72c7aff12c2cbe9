"""Hasan et al.: errors, loss and gradients by hand, and a square that turns and speeds up."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from torch import Tensor
from torch.nn import functional as F

from oddframe.errors import UsageError
from oddframe.methods.base import Loss
from oddframe.methods.hasan import (
    Autoencoder,
    Hasan,
    HasanConfig,
    HasanNetwork,
    HasanOutput,
)
from oddframe.metrics import roc_auc
from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.one_class import fit_one_class
from tests.methods.moving import square_videos

METHOD = Hasan()
SMALL: dict[str, Any] = {"frames": 10, "widths": [16, 8, 8], "kernel": 5, "stride": 2}
TINY = HasanConfig(frames=1, widths=(4, 4, 4), kernel=1, stride=1)


def small_config(steps: int = 160) -> TrainConfig:
    recipe = {"steps": steps, "normal_bags": 16, "average": 0.9}
    return parse_config({"method": {"name": "hasan", "config": SMALL}, "recipe": recipe})


def tiny(dim: int = 16) -> HasanNetwork:
    torch.manual_seed(0)
    return METHOD.network(dim, TINY)


def found_auc(config: TrainConfig) -> float:
    videos, _ = square_videos(12, abnormal=False, seed=0, frames=10)
    network = fit_one_class(videos, config).network
    test, odd = square_videos(8, abnormal=True, seed=1, frames=10)
    scores = [network.score_views(np.stack(video.views)) for video in test]
    return roc_auc(odd.ravel(), np.concatenate(scores))


def test_the_error_is_the_residual_of_the_reconstruction() -> None:
    network = tiny()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.autoencoder.back1.bias.fill_(0.25)  # Every pixel is rebuilt as this.
        network.picture.fill_(0.5)
        network.spread.fill_(2.0)
    stacks = torch.rand(2, 3, 16)
    by_hand = (((stacks - 0.5) / 2 - 0.25) ** 2).mean(-1)
    with torch.inference_mode():
        torch.testing.assert_close(network.distance(stacks), by_hand)
    assert (network(stacks).logits.flatten().argsort() == by_hand.flatten().argsort()).all()


def test_the_autoencoder_by_hand() -> None:
    """tanh between layers, none at the end; unpooling uses the indices of pooling."""
    torch.manual_seed(0)
    auto = Autoencoder(HasanConfig(frames=2, widths=(4, 3, 2), kernel=3, stride=2))
    stacks = torch.rand(2, 2, 20, 20)
    first = auto.conv1(stacks).tanh()
    x, at1 = F.max_pool2d(first, 2, return_indices=True)
    second = auto.conv2(x).tanh()
    x, at2 = F.max_pool2d(second, 2, return_indices=True)
    x = auto.back3(auto.conv3(x).tanh()).tanh()
    x = auto.back2(F.max_unpool2d(x, at2, 2, output_size=second.shape[-2:])).tanh()
    x = F.max_unpool2d(x, at1, 2, output_size=first.shape[-2:])
    torch.testing.assert_close(auto(stacks), auto.back1(x, output_size=(20, 20)))


def test_the_mean_image_is_that_of_all_frames() -> None:
    config = HasanConfig(frames=2, widths=(4, 4, 4), kernel=1, stride=1)
    network, stacks = METHOD.network(32, config), torch.rand(5, 32)
    network.fit_snippets(stacks)
    frames = stacks.view(10, 4, 4)
    torch.testing.assert_close(network.picture, frames.mean(0))
    spread = (frames - frames.mean(0)).square().mean().sqrt()
    torch.testing.assert_close(network.spread, spread)


def test_the_loss_is_the_mean_error_of_normal_bags() -> None:
    errors = torch.tensor([[1.0, 3.0], [100.0, 7.0], [2.0, 6.0]])
    output = HasanOutput(errors, errors, errors)
    loss = METHOD.loss(output, torch.tensor([0.0, 1.0, 0.0]), TINY)
    assert loss.total.item() == pytest.approx(3.0)


def test_gradients_are_those_of_finite_differences() -> None:
    network, stacks = tiny().double(), torch.rand(3, 2, 16).double()
    labels = torch.zeros(3)

    def loss(at: HasanNetwork) -> Tensor:
        output = at(stacks, labels)
        assert isinstance(output, HasanOutput)
        return METHOD.loss(output, labels, TINY).total

    loss(network).backward()
    for seed in range(4):
        rng = torch.Generator().manual_seed(seed)
        ways = [torch.randn(p.shape, generator=rng).double() for p in network.parameters()]
        slope = sum(
            (p.grad * w).sum().item() for p, w in zip(network.parameters(), ways, strict=True)
        )
        values = []
        for step in (1e-6, -1e-6):
            moved = deepcopy(network)
            with torch.no_grad():
                for parameter, way in zip(moved.parameters(), ways, strict=True):
                    parameter += step * way
            values.append(loss(moved).item())
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-7)
        assert abs(slope) > 1e-3


def test_a_square_that_turns_and_speeds_up_is_found() -> None:
    assert found_auc(small_config()) > 0.95


class NoLoss(Hasan):
    """With a loss of zero."""

    def loss(self, output: HasanOutput, labels: Tensor, config: HasanConfig) -> Loss:
        loss = super().loss(output, labels, config)
        return replace(loss, total=0 * loss.total)


def test_nothing_is_found_without_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddframe.methods.registry._METHODS", {"hasan": f"{__name__}:NoLoss"})
    assert found_auc(small_config()) < 0.8


def test_the_same_seed_gives_the_same_network() -> None:
    videos, _ = square_videos(3, abnormal=False, seed=0, frames=10)
    config = small_config(steps=3)
    first, again = (fit_one_class(v, config).network for v in (videos, videos[::-1]))
    other = fit_one_class(videos, config.with_recipe(seed=1)).network
    weights = [n.network.autoencoder.conv1.weight for n in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_pixels_are_not_standardised_and_a_log_is_kept(tmp_path: Any) -> None:
    videos, _ = square_videos(3, abnormal=False, seed=0, frames=10)
    config, told = small_config(steps=4), []
    assert config.standardise
    fitted = fit_one_class(
        videos, config, log=tmp_path / "log", on_step=lambda done, n, _: told.append((done, n))
    )
    assert (fitted.network.standardise.std == 1).all()
    assert (fitted.network.standardise.mean == 0).all()
    assert told == [(step, 4) for step in range(1, 5)]
    assert len((tmp_path / "log").read_text().splitlines()) == 4


def test_per_video_scores_are_min_max_normalised() -> None:
    torch.manual_seed(0)
    plain = tiny()
    network = METHOD.network(16, TINY.model_copy(update={"per_video": True}))
    network.load_state_dict(plain.state_dict())
    stacks = torch.rand(3, 7, 16)
    logits, errors = network(stacks).logits, plain.distance(stacks)
    low, high = errors.amin(1, keepdim=True), errors.amax(1, keepdim=True)
    torch.testing.assert_close((logits + 4) / 8, (errors - low) / (high - low))
    assert network(stacks[:, :1]).logits.isfinite().all()


def published(config: BaseModel) -> HasanNetwork:
    assert isinstance(config, HasanConfig)
    with torch.device("meta"):
        return METHOD.network(10 * 227 * 227, config)


def test_the_autoencoder_has_the_published_size() -> None:
    auto = published(HasanConfig()).autoencoder
    shapes = [tuple(layer.weight.shape) for layer in auto.children()]  # type: ignore[union-attr, arg-type]
    assert shapes == [
        (512, 10, 11, 11),
        (256, 512, 5, 5),
        (128, 256, 3, 3),
        (128, 256, 3, 3),
        (256, 512, 5, 5),
        (512, 10, 11, 11),
    ]


@pytest.mark.parametrize("dim", [1024, 10 * 96 * 95, 10 * 8 * 8])
def test_other_features_are_refused(dim: int) -> None:
    with pytest.raises(UsageError, match=r"features\.backbone to grey_10x96x96"):
        METHOD.network(dim, HasanConfig())
