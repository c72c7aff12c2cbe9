"""The correction of a model by few videos: its arithmetic, the model file, whole trainings."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError
from oddframe.methods.base import WeaklySupervised
from oddframe.methods.registry import get_method, method_names
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.metrics import roc_auc
from oddframe.modelfile import Model, load_model, save_model
from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.correction import STRENGTH, correct, fit_correction, should_correct
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.search import Budget
from oddframe.training.step import TrainingRun
from oddframe.training.train import TrainedModel
from tests.training.planted import DIM, planted, small_config
from tests.training.precomputed import ProgressLog, linear, ready_made
from tests.training.test_trainer import trained


def network(method: str = "linear", tiles: int = 1) -> tuple[ModelNetwork, list[TrainingVideo]]:
    """An untrained network, and videos for it of three of each class."""
    videos, _ = planted(3, 3, seed=4)
    views = [np.repeat(v.views[0], tiles, axis=0) for v in videos]
    videos = [
        TrainingVideo((x, x + 0.1), v.abnormal, tiles) for x, v in zip(views, videos, strict=True)
    ]
    torch.manual_seed(1)
    found = get_method(method)
    made = found.network(DIM, small_config(method).chosen_method()[1])
    standardise = Standardise.fit([view for video in videos for view in video.views])
    return ModelNetwork(standardise, made).eval(), videos


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 30), st.floats(0.05, 500))
@settings(max_examples=40, deadline=None)
def test_the_loss_has_no_gradient_at_the_correction(
    seed: int, n: int, dim: int, ridge: float
) -> None:
    rng = np.random.default_rng(seed)
    x, offset = rng.normal(size=(n + 1, dim)), rng.normal(scale=4, size=n + 1)
    abnormal = np.arange(n + 1) % 3 == 0
    found = fit_correction(x, offset, abnormal, ridge)
    same = np.where(abnormal, abnormal.sum(), (~abnormal).sum())

    def loss(w: np.ndarray) -> float:
        margins = np.where(abnormal, 1, -1) * (x @ w + offset)
        return float((same.min() / same) @ np.log1p(np.exp(-margins)) + ridge / 2 * w @ w)

    for direction in np.eye(dim):
        slope = (loss(found + 1e-5 * direction) - loss(found - 1e-5 * direction)) / 2e-5
        assert abs(slope) < 1e-5


def test_more_videos_and_a_weaker_prior_move_it_further() -> None:
    rng = np.random.default_rng(0)
    x, abnormal = rng.normal(size=(200, 10)), np.arange(200) % 2 == 0
    x[abnormal] += 1
    sizes = [
        np.linalg.norm(fit_correction(x[:n], np.zeros(n), abnormal[:n], ridge))
        for n, ridge in ((6, 1e6), (6, 10.0), (60, 10.0), (200, 10.0))
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < 1e-4


def test_the_larger_class_counts_as_much_as_the_smaller() -> None:
    x = np.array([[1.0], [-1.0], [-1.0], [-1.0]])
    few = fit_correction(x[:2], np.zeros(2), np.array([True, False]), 1.0)
    many = fit_correction(x, np.zeros(4), np.array([True, False, False, False]), 1.0)
    np.testing.assert_allclose(many, few)


METHODS = [name for name in method_names() if isinstance(get_method(name), WeaklySupervised)]


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_corrected_crops_and_tiles_included(method: str, tiles: int) -> None:
    old, videos = network(method, tiles)
    before = deepcopy(old.state_dict())
    corrected = correct(old, videos).network
    after = corrected.state_dict()
    found = after.pop("correction")
    assert found.shape == (DIM,)
    assert found.abs().max() > 0
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert "correction" not in old.state_dict(), "the old network was changed"
    again = correct(old, videos).network.correction
    assert again is not None
    assert torch.equal(again, found)
    x = torch.from_numpy(videos[0].views[0])[None]
    with torch.inference_mode():
        logits = old.logits(old.standardise(x)) + old.standardise(x) @ found
        torch.testing.assert_close(corrected(x), logits.double().sigmoid())


def test_corrections_add_up() -> None:
    old, videos = network()
    once = correct(old, videos).network
    twice = correct(once, videos).network
    assert once.correction is not None
    assert twice.correction is not None
    more = twice.correction - once.correction
    assert 0 < more.norm() < once.correction.norm(), "the second starts where the first ended"


def test_features_that_are_not_standardised_may_be_of_any_size() -> None:
    old, videos = network()
    old.standardise = Standardise.identity(DIM)
    for parameter in old.network.parameters():
        parameter.data.zero_()
    large = [replace(v, views=[1000 * x for x in v.views]) for v in videos]
    small, big = (correct(old, each).network.correction for each in (videos, large))
    assert small is not None
    assert big is not None
    torch.testing.assert_close(1000 * big, small, rtol=1e-3, atol=1e-6)


def test_one_class_alone_is_refused() -> None:
    old, videos = network()
    with pytest.raises(InputError, match="normal and abnormal"):
        correct(old, [video for video in videos if not video.abnormal])


def test_training_all_weights_starts_without_the_correction() -> None:
    old, videos = network()
    corrected = correct(old, videos).network
    run = TrainingRun(videos, small_config("linear"), torch.device("cpu"), corrected)
    assert run.network.correction is None


@pytest.mark.parametrize(
    ("setting", "counts", "expected"),
    [
        ("auto", (19, 100), True),
        ("auto", (100, 19), True),
        ("auto", (20, 20), False),
        ("always", (500, 500), True),
        ("never", (1, 1), False),
    ],
)
def test_when_a_model_is_corrected(setting: str, counts: tuple[int, int], expected: bool) -> None:
    config = parse_config({"correction": setting})
    assert should_correct(config, [False] * counts[0] + [True] * counts[1]) is expected


def test_files_have_the_setting_only_if_it_is_not_the_default() -> None:
    assert "correction" not in TrainConfig().model_dump()
    assert json.loads(parse_config({"correction": "never"}).model_dump_json())["correction"] == (
        "never"
    )


@pytest.fixture
def base(tmp_path: Path) -> Model:
    return trained(tmp_path / "base").model


def few(folder: Path, n: int = 3) -> Dataset:
    return ready_made(folder, n, seed=9)


def corrected_model(tmp_path: Path, base: Model, log: ProgressLog, **kwargs: Any) -> TrainedModel:
    return trained(tmp_path, log, data=few(tmp_path / "few"), pretrained=base, **kwargs)


def test_a_training_on_few_videos_corrects_the_model(tmp_path: Path, base: Model) -> None:
    log = ProgressLog()
    found = corrected_model(tmp_path, base, log)
    assert log.has_line(
        "the model 'm' stays as it is, with a small correction of its scores from 3 abnormal and "
        "3 normal videos"
    )
    model = found.model
    assert log.steps == []
    assert not found.log.exists()
    assert model.card["corrections"] == [{"normal": 3, "abnormal": 3}]
    assert set(model.card["learned_from"]) > set(base.card["learned_from"])
    assert model.profiles["best"].rule == base.profiles["best"].rule
    state = model.network.state_dict()
    assert state.pop("correction").abs().max() > 0
    for name, tensor in base.network.state_dict().items():
        assert torch.equal(state[name], tensor), name
    # Written, read and written again.
    again = tmp_path / "again.safetensors"
    save_model(model, again)
    assert again.read_bytes() == (tmp_path / "m.safetensors").read_bytes()
    x = torch.randn(1, 5, DIM)
    assert torch.equal(load_model(again).network(x), model.network(x))
    # And corrected once more.
    third = trained(
        tmp_path / "third", data=few(tmp_path / "few"), pretrained=model, config=linear()
    ).model
    assert third.card["corrections"] == 2 * [{"normal": 3, "abnormal": 3}]


def test_there_is_nothing_to_search_and_one_seed(tmp_path: Path, base: Model) -> None:
    log = ProgressLog()
    found = corrected_model(tmp_path, base, log, seeds=2, budget=Budget(60))
    assert log.has_line("nothing to search: a correction has no settings")
    assert log.has_line("a correction is the same from any seed")
    assert (found.search, found.seeds) == (None, ())


def test_never_trains_all_weights_on(tmp_path: Path, base: Model) -> None:
    log = ProgressLog()
    model = corrected_model(tmp_path, base, log, config=linear(correction="never")).model
    assert log.steps
    assert model.network.correction is None
    assert "corrections" not in model.card


def test_a_file_with_a_correction_of_another_length_is_damaged(tmp_path: Path, base: Model) -> None:
    network = deepcopy(base.network)
    network.add_correction(torch.zeros(DIM))
    network.correction = torch.zeros(DIM + 1)
    save_model(replace(base, network=network), tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match=r"'correction' is \(25,\), not \(24,\)"):
        load_model(tmp_path / "bad.safetensors")


def test_few_clips_of_new_cameras_help_and_do_not_harm() -> None:
    """Cameras shift what is normal, and lend the classes a direction of their own."""
    rng = np.random.default_rng(7)
    dim, gains, trained_on = 60, [], []
    direction = rng.normal(size=dim) / np.sqrt(dim)
    for _ in range(40):
        own = direction + 0.7 * rng.normal(size=dim) / np.sqrt(dim)
        abnormal = np.arange(206) % 2 == 0
        x = rng.normal(size=(206, dim)) + 0.3 * rng.normal(size=dim)
        x += 1.2 * np.where(abnormal, 1, -1)[:, None] * own
        logits = 2 * x @ direction
        new, test = slice(0, 6), slice(6, None)
        before = roc_auc(abnormal[test], logits[test])
        for ridge, found in ((STRENGTH * dim, gains), (0.01 * dim, trained_on)):
            weights = fit_correction(x[new], logits[new], abnormal[new], ridge)
            found.append(roc_auc(abnormal[test], (logits + x @ weights)[test]) - before)
    assert min(gains) > -0.02
    assert np.median(gains) > 0
    assert min(trained_on) < min(gains)
