"""The training loop: finds planted anomalies, is reproducible, resumes, and reports errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.published import NpyFiles
from oddframe.features.lazy_array import CropViews
from oddframe.features.presets import PublishedLayout
from oddframe.methods.base import Loss
from oddframe.methods.mil.linear import Linear
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import roc_auc
from oddframe.training.config import TrainConfig
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.training.run_files import load_checkpoint
from tests.training.planted import DIM, planted, small_config


def snippet_auc(network: ModelNetwork, seed: int) -> float:
    videos, truth = planted(20, 20, seed)
    with torch.inference_mode():
        scores = [network(torch.from_numpy(v.views[0])[None])[0].numpy() for v in videos]
    return roc_auc(np.concatenate(truth), np.concatenate(scores))


def weights(network: ModelNetwork) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


@pytest.mark.parametrize("method", ["ur_dmu", "linear"])
def test_a_planted_anomaly_is_found_from_video_labels(method: str) -> None:
    config = small_config(method, recipe={"steps": 150, "lr": 5e-3, "average": 0.9})
    fitted = fit(planted(30, 30, seed=1)[0], config)
    assert snippet_auc(fitted.network, seed=2) > 0.95
    assert fitted.warnings == ()
    assert not fitted.network.training


def test_nothing_is_learned_from_shuffled_labels() -> None:
    found = []
    for seed in range(5):
        videos, _ = planted(40, 40, seed)
        labels = np.random.default_rng(seed).permutation([v.abnormal for v in videos])
        shuffled = [TrainingVideo(v.views, bool(a)) for v, a in zip(videos, labels, strict=True)]
        config = small_config(recipe={"steps": 40, "seed": seed})
        found.append(snippet_auc(fit(shuffled, config).network, seed=100 + seed))
    assert abs(np.mean(found) - 0.5) < 0.25
    assert max(found) < 0.95


def test_a_planted_anomaly_is_found_from_joined_bags() -> None:
    videos, _ = planted(30, 30, seed=1)
    bags = {"mode": "joined", "clips": [3, 4], "abnormal": [1, 2]}
    recipe = {"steps": 150, "lr": 5e-3, "segments": 32}
    fitted = fit(videos, small_config(recipe=recipe, bags=bags))
    assert snippet_auc(fitted.network, seed=2) > 0.95


@pytest.mark.parametrize(
    "videos",
    [
        pytest.param(
            [TrainingVideo((np.full((1, DIM), float(i)),), i == 3) for i in range(4)],
            id="one snippet",
        ),
        pytest.param(planted(40, 1, seed=0)[0], id="one abnormal"),
        pytest.param(planted(1, 40, seed=0)[0], id="one normal"),
    ],
)
def test_few_and_short_videos_train(videos: list[TrainingVideo]) -> None:
    fitted = fit(videos, small_config(recipe={"steps": 3}))
    assert all(torch.isfinite(tensor).all() for tensor in fitted.network.state_dict().values())


def test_the_same_seed_gives_the_same_weights() -> None:
    videos, _ = planted(8, 8, seed=3)
    torch.manual_seed(77)
    before = torch.get_rng_state()
    recipe = {"average": 0.9, "feature_noise": 0.1, "feature_dropout": 0.1, "clip_norm": 1.0}
    first = fit(videos, small_config(recipe=recipe)).network
    assert torch.equal(torch.get_rng_state(), before)  # The caller's chance is left alone.
    torch.manual_seed(78)
    assert_equal(weights(first), weights(fit(videos, small_config(recipe=recipe)).network))
    other = fit(videos, small_config(recipe=recipe | {"seed": 1})).network
    assert not torch.equal(
        first.state_dict()["network.cls_head.mlp.0.weight"],
        other.state_dict()["network.cls_head.mlp.0.weight"],
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_seed_gives_the_same_weights_on_cuda() -> None:
    videos, _ = planted(8, 8, seed=3)
    first, again = (fit(videos, small_config(), device="cuda").network for _ in range(2))
    assert_equal(weights(first), weights(again))


def test_every_term_of_every_step_is_logged(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "log.jsonl"
    seen: list[tuple[int, int]] = []
    fit(
        planted(8, 8, seed=3)[0],
        small_config(),
        log=log,
        on_step=lambda done, total, _: seen.append((done, total)),
    )
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert {"loss", "cls", "dm", "trip", "kl", "dis"} <= rows[0].keys()
    assert seen == [(i, 12) for i in range(1, 13)]


def config_of_killed_run() -> TrainConfig:
    return small_config(recipe={"average": 0.9, "feature_noise": 0.1})


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.training.test_loop as t
from oddframe.training.loop import fit
def step(done, total, loss):
    if done == 8:
        os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
fit(t.planted(8, 8, seed=3)[0], t.config_of_killed_run(), log=folder / "log.jsonl",
    checkpoint=folder / "c.safetensors", checkpoint_every=5, on_step=step)
"""


def test_a_killed_training_resumes_bit_by_bit(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    checkpoint, log = tmp_path / "c.safetensors", tmp_path / "log.jsonl"
    assert load_checkpoint(checkpoint).step == 5
    videos, _ = planted(8, 8, seed=3)
    whole = fit(videos, config_of_killed_run(), log=tmp_path / "whole.jsonl")
    resumed = fit(videos, config_of_killed_run(), log=log, checkpoint=checkpoint)
    assert resumed.resumed_at == 5
    assert_equal(weights(resumed.network), weights(whole.network))
    assert log.read_text() == (tmp_path / "whole.jsonl").read_text()
    assert not checkpoint.exists()


def interrupted(folder: Path) -> Path:
    """A checkpoint of a run that was interrupted."""

    def step(done: int, total: int, loss: float) -> None:
        if done == 6:
            raise KeyboardInterrupt

    path = folder / "c.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(planted(8, 8, 3)[0], small_config(), checkpoint=path, checkpoint_every=5, on_step=step)
    return path


def on_disk(folder: Path, videos: list[TrainingVideo]) -> list[TrainingVideo]:
    """The same videos with five crops each, read from files where they are looked at."""
    found = []
    for i, video in enumerate(videos):
        files = tuple(folder / f"{i}__{crop}.npy" for crop in range(5))
        for crop, file in enumerate(files):
            np.save(file, video.views[0] + np.float32(crop))
        features = NpyFiles(
            files, PublishedLayout(crops=5, fps=25.0, dim=video.views[0].shape[1])
        ).open()
        found.append(TrainingVideo(CropViews([features.array]), video.abnormal))
    return found


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_changed_features_change_the_identity(tmp_path: Path, where: str) -> None:
    def step(done: int, total: int, loss: object) -> None:
        if done == 6:
            raise KeyboardInterrupt

    config, path = small_config("linear"), tmp_path / "c.safetensors"
    videos, _ = planted(8, 8, seed=3)
    if where == "disk":
        videos = on_disk(tmp_path, videos)
    with pytest.raises(KeyboardInterrupt):
        fit(videos, config, checkpoint=path, checkpoint_every=5, on_step=step)
    saved = path.read_bytes()
    assert fit(videos, config, checkpoint=path).resumed_at == 5
    path.write_bytes(saved)
    if where == "disk":
        file = tmp_path / "11__1.npy"
        view = np.load(file)
        view[-1, -1] += 1
        np.save(file, view)
    else:
        view = videos[11].views[0].copy()
        view[-1, -1] += 1
        videos[11] = TrainingVideo((view,), videos[11].abnormal)
    changed = fit(videos, config, checkpoint=path)
    assert changed.resumed_at == 0
    assert "other data: training starts anew" in changed.warnings[0]


def test_a_checkpoint_of_the_first_format_is_not_resumed(tmp_path: Path) -> None:
    path = interrupted(tmp_path)
    with safe_open(path, framework="np") as file:
        about = json.loads(file.metadata()["oddframe"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    about["format"] = 1
    save_file(tensors, path, {"oddframe": json.dumps(about)})
    fitted = fit(planted(8, 8, 3)[0], small_config(), checkpoint=path)
    assert fitted.resumed_at == 0
    assert fitted.warnings == (
        f"{path}: not a checkpoint that can be resumed (of an earlier version, which did not look "
        "at all features): training starts anew",
    )


@pytest.mark.parametrize("how", ["config", "data", "damaged", "cut"])
def test_a_damaged_or_another_trainings_checkpoint_is_not_resumed(tmp_path: Path, how: str) -> None:
    path = interrupted(tmp_path)
    data, config, seed = bytearray(path.read_bytes()), small_config(), 3
    if how == "config":
        config = small_config(recipe={"lr": 2e-3})
    elif how == "data":
        seed = 4
    elif how == "damaged":
        data[-9] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(data[:-9])
    videos, _ = planted(8, 8, seed)
    fitted = fit(videos, config, checkpoint=path)
    assert fitted.resumed_at == 0
    assert "anew" in fitted.warnings[0]
    assert_equal(weights(fitted.network), weights(fit(videos, config).network))


def test_training_stops_where_scores_are_not_finite() -> None:
    videos, _ = planted(8, 8, seed=3)
    with pytest.raises(OddframeError, match=r"stopped at step \d+: the .* is nan") as error:
        fit(videos, small_config(recipe={"lr": 1e12, "steps": 50}))
    assert "recipe.lr" in str(error.value)
    assert "\n" not in str(error.value)


def test_training_stops_at_a_loss_term_that_is_not_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, calls = Linear.loss, []

    def loss(self: Linear, *inputs: Any) -> Loss:
        calls.append(1)
        found = whole(self, *inputs)
        bad = torch.tensor(float("inf"))
        return Loss(found.total, {**found.terms, "far": bad}) if len(calls) == 3 else found

    monkeypatch.setattr(Linear, "loss", loss)
    with pytest.raises(OddframeError, match="stopped at step 3: the loss term 'far' is inf"):
        fit(planted(8, 8, seed=3)[0], small_config("linear"))


def test_a_network_that_learned_nothing_gives_a_warning() -> None:
    config = small_config("linear", recipe={"steps": 1, "lr": 1e-9})
    fitted = fit(planted(8, 8, seed=3)[0], config)
    assert "once more" in fitted.warnings[0]
    assert "learned nothing" in fitted.warnings[1]


def test_features_of_two_lengths_are_refused() -> None:
    videos, _ = planted(4, 4, seed=3)
    videos.append(TrainingVideo((np.zeros((3, DIM + 1), np.float32),), False))
    with pytest.raises(InputError, match="different lengths"):
        fit(videos, small_config())


@pytest.mark.parametrize("stopped", [False, True])
def test_a_collapsed_training_is_restarted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    whole, calls = Linear.loss, []

    def loss(self: Linear, *inputs: Any) -> Loss:
        calls.append(1)
        found = whole(self, *inputs)
        return Loss(found.total * 0, found.terms) if len(calls) <= 6 else found

    def step(done: int, total: int, loss: float) -> None:
        if len(calls) == 6 + 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(Linear, "loss", loss)
    videos, _ = planted(8, 8, seed=3)
    config = small_config("linear", recipe={"seed": 5, "lr": 1e-2})
    log, path = tmp_path / "log.jsonl", tmp_path / "c.safetensors"
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            fit(videos, config, log=log, checkpoint=path, checkpoint_every=5, on_step=step)
    fitted = fit(videos, config, log=log, checkpoint=path, checkpoint_every=5)
    assert fitted.resumed_at == (5 if stopped else 0)
    assert len(fitted.warnings) == 1
    assert "once more, at a rate of 0.001 and from seed 1005" in fitted.warnings[0]
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(row["step"], row["attempt"]) for row in rows] == [(i, 2) for i in range(1, 13)]
    slower = small_config("linear", recipe={"seed": 1005, "lr": 1e-3})
    assert_equal(weights(fitted.network), weights(fit(videos, slower).network))


def test_saturated_scores_do_not_count_as_collapsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sigmoid of huge logits is 1 for all; the temperature tells them apart again.

    Such a training was given up halfway and its half-trained network kept.
    """
    whole = Linear.network

    def network(self: Linear, *inputs: Any) -> Any:
        made = whole(self, *inputs)
        with torch.no_grad():
            made.score.weight.normal_(std=1e2)
            made.score.bias += 1e4
        return made

    monkeypatch.setattr(Linear, "network", network)
    steps: list[int] = []
    config = small_config("linear", recipe={"lr": 1e-9})
    assert config.temperature_scaling
    fitted = fit(planted(8, 8, seed=3)[0], config, on_step=lambda done, *_: steps.append(done))
    assert steps == list(range(1, config.recipe.steps + 1))
    assert not fitted.warnings
