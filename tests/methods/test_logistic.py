"""The logistic regression of clips: its optimum, its clips, and what it does with look-alikes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.backbones.visual.i3d import FIGHTING, kinetics_actions
from oddframe.errors import InputError, UsageError
from oddframe.events import EventRule
from oddframe.methods.mil.logistic import (
    ActionClassifier,
    LogisticConfig,
    LogisticNetwork,
    fit_ridge_logistic,
)
from oddframe.methods.registry import get_method
from oddframe.methods.scorer import ModelNetwork, Standardise
from oddframe.modelfile import Model, Profile, load_model, save_model
from oddframe.training.config import parse_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(2, 40),
    dim=st.integers(1, 30),
    ridge=st.floats(0.1, 1e4),
)
def test_the_gradient_is_zero_at_the_optimum(seed: int, rows: int, dim: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, dim)) * rng.uniform(0.1, 10, dim) + rng.normal(size=dim)
    labels = rng.random(rows) < 0.5
    labels[:2] = True, False
    count = rng.uniform(0.5, 2, rows)
    ((weights, intercept),) = fit_ridge_logistic(x, labels, [ridge], count)
    mean = np.average(x, axis=0, weights=count)
    scale = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=count))
    error = count * (1 / (1 + np.exp(-(x @ weights + intercept))) - labels)
    assert error.sum() == pytest.approx(0, abs=1e-6)
    gradient = ((x - mean) / scale).T @ error + ridge * weights * scale
    np.testing.assert_allclose(gradient, 0, atol=1e-5)


def test_constant_features_have_no_weight_and_a_strong_ridge_leaves_only_the_share() -> None:
    x = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    labels = np.array([False, False, False, True])
    weak, strong = fit_ridge_logistic(x, labels, [0.1, 1e9])
    assert weak[0][0] > 0
    assert weak[0][1] == 0
    assert strong[0] == pytest.approx([0, 0], abs=1e-6)
    assert strong[1] == pytest.approx(np.log(1 / 3), abs=1e-6)  # Of a quarter of the clips.


def clips(
    rng: np.random.Generator, n: int, *, abnormal: bool, length: int = 4
) -> list[TrainingVideo]:
    x = rng.normal(size=(n, length, 12)).astype(np.float32)
    x[..., 3] += 2.0 * abnormal
    return [TrainingVideo((each,), abnormal) for each in x]


CONFIG = parse_config({"method": {"name": "logistic"}}, "test")


def test_finds_what_abnormal_clips_have_in_common() -> None:
    rng = np.random.default_rng(0)
    videos = clips(rng, 40, abnormal=False) + clips(rng, 40, abnormal=True)
    network = fit(videos, CONFIG).network
    score = network.network.score.weight[0].detach().numpy()
    assert np.abs(score).argmax() == 3
    new = clips(rng, 50, abnormal=True) + clips(rng, 50, abnormal=False)
    scores = [network.score_views(np.stack(video.views)).mean() for video in new]
    assert min(np.sort(scores[:50])[5:]) > max(np.sort(scores[50:])[:-5])


def test_a_long_normal_video_counts_as_many_clips() -> None:
    rng = np.random.default_rng(1)
    odd, normal = clips(rng, 10, abnormal=True), clips(rng, 12, abnormal=False)
    long = TrainingVideo((np.concatenate([video.views[0] for video in normal]),), abnormal=False)
    one, other = (fit(odd + rest, CONFIG).network.network.score for rest in (normal, [long]))
    torch.testing.assert_close(one.weight, other.weight)
    torch.testing.assert_close(one.bias, other.bias)


def test_views_of_a_clip_share_its_weight() -> None:
    rng = np.random.default_rng(2)
    videos = clips(rng, 10, abnormal=True) + clips(rng, 10, abnormal=False)
    twice = [TrainingVideo(video.views * 2, video.abnormal) for video in videos]
    one, other = (fit(each, CONFIG).network.network.score for each in (videos, twice))
    torch.testing.assert_close(one.weight, other.weight)


def test_what_cannot_be_fitted_is_refused() -> None:
    rng = np.random.default_rng(3)
    odd, normal = clips(rng, 3, abnormal=True), clips(rng, 3, abnormal=False)
    with pytest.raises(InputError, match="no normal videos"):
        fit(odd, CONFIG)
    with pytest.raises(InputError, match="no abnormal videos"):
        fit(normal, CONFIG)
    broken = TrainingVideo((np.full((2, 12), np.nan, np.float32),), abnormal=False)
    with pytest.raises(InputError, match="not finite"):
        fit([*odd, *normal, broken], CONFIG)
    with pytest.raises(UsageError, match="look_alikes reads features of i3d"):
        LogisticNetwork(12, LogisticConfig(look_alikes=1))
    with pytest.raises(UsageError, match="look_alikes reads features of i3d, not of i3d_flow"):
        get_method("logistic").check_backbone("i3d_flow", LogisticConfig(look_alikes=1))
    get_method("logistic").check_backbone("i3d_flow", LogisticConfig())


def test_the_table_of_actions() -> None:
    actions = kinetics_actions()
    assert len(actions) == len({name for name, _ in actions}) == 400
    groups = [group for _, group in actions]
    assert groups.count(FIGHTING) == 9
    assert dict(actions)["punching person (boxing)"] == FIGHTING
    assert dict(actions)["dunking basketball"] == "ball sports"


def test_another_action_lowers_the_score_and_fighting_does_not() -> None:
    classifier = ActionClassifier()
    classifier.load_shipped()
    names = [name for name, _ in kinetics_actions()]
    weight = classifier.logits.weight

    def feature(*actions: str) -> torch.Tensor:
        """A feature of which the classifier says nothing but these actions."""
        x = sum(weight[names.index(name)] for name in actions)
        assert isinstance(x, torch.Tensor)
        return 40 * x / x.norm()

    archery, boxing = feature("archery"), feature("punching person (boxing)", "wrestling")
    assert classifier(archery).argmax() == names.index("archery")
    assert names[int(classifier(boxing).argmax())] in {"punching person (boxing)", "wrestling"}
    network = LogisticNetwork(1024, LogisticConfig(look_alikes=3.0))
    assert network.other_action is not None
    network.other_action.classifier.load_shipped()
    logits = network(torch.stack([archery, boxing, torch.zeros(1024)])[None]).logits[0].detach()
    assert logits[0] == pytest.approx(3 * np.log(0.25), abs=0.1)
    assert logits[1:].tolist() == pytest.approx([0, 0], abs=0.1)


def test_a_model_file_holds_the_classifier(tmp_path: Path) -> None:
    config = LogisticConfig(look_alikes=3.0)
    network = LogisticNetwork(1024, config)
    assert network.other_action is not None
    network.other_action.classifier.load_shipped()
    spec = load_model("fight").profiles["best"].spec
    model = Model(
        "m",
        "logistic",
        config,
        ModelNetwork(Standardise.identity(1024), network),
        {"best": Profile(spec, EventRule(0.5))},
        detects="fights",
        training_data="",
    )
    path = tmp_path / "m.safetensors"
    save_model(model, path, fp16=True)
    features = torch.rand(1, 5, 1024)
    again = load_model(path).network(features)
    torch.testing.assert_close(again, model.network(features), atol=2e-3, rtol=0)
    assert path.stat().st_size < 1.2e6
