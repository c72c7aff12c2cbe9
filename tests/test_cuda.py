"""CUDA gives what the CPU gives, and the same twice. Nothing here runs without a CUDA device.

Tolerances are those of adding up in another order, unless a test says otherwise. Each prints what
it saw: ``pytest -rP``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oddframe._utils.determinism import deterministic
from oddframe.backbones.audio import AISFX_WEIGHTS
from oddframe.backbones.audio_networks import Aisfx, VGGish
from oddframe.backbones.base import FULL_FRAME, to_input
from oddframe.backbones.engines import (
    PrecisionName,
    Runtime,
    choose_runtime,
)
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.backbones.torch_runner import torch_runner
from oddframe.backbones.visual.i3d import I3D_WEIGHTS
from oddframe.backbones.visual.i3d_network import I3D, read_i3d
from oddframe.backbones.weights import load_weights, read_state_dict
from oddframe.cli.demo import DEMO_DATA
from oddframe.detector import Detector
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.mil.urdmu import ur_dmu_loss
from oddframe.methods.mil.urdmu_network import UrDmuNetwork
from oddframe.methods.registry import method_names
from oddframe.methods.scorer import ModelNetwork
from oddframe.research.grid import GridPlan, run_grid
from oddframe.research.grid_task import record_path
from oddframe.research.records import read_training
from oddframe.research.reproduce.tables import table_spec, table_tasks
from oddframe.training.config import TrainConfig, parse_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.training.run_files import load_checkpoint
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import with_views
from tests.cli.test_extract import files_of
from tests.conftest import ROOT, Image, encode
from tests.methods import formula
from tests.methods.parity import gradients_close, value_close
from tests.methods.test_behaviour import SMALL, Small
from tests.methods.test_urdmu_parity import CONFIG, LABELS, PART, TERMS
from tests.research.tiny import tiny_session
from tests.snippets import SnippetReader
from tests.training.planted import planted, small_config

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(
    DEVICE == "cuda" and not torch.cuda.is_available(), reason="no CUDA device"
)
VIDEO = DEMO_DATA / "fi026.mp4"
# Least cosine of a feature in bfloat16 and in float32.
COSINE = 0.999
WAYS: list[PrecisionName] = ["float32", "bfloat16"]


def features_of(name: str, device: Any, precision: PrecisionName, views: Any = 1) -> AnyFeatures:
    """(C, T, D) of the demo's clip, by PyTorch."""
    how = with_views(get_backbones(name)[0].preprocessing, views)
    backbone = load_backbone(name, how, engine="torch", device=device, precision=precision)
    return extract_video(open_source(VIDEO), backbone_spec(backbone, how), backbone).features.array


@cache
def expected(name: str) -> NDArray[np.float32]:
    """The CPU's features of the demo's clip, in float32."""
    return np.asarray(features_of(name, "cpu", "float32"))


def cosines(ours: AnyFeatures, theirs: AnyFeatures) -> NDArray[np.float64]:
    a, b = (np.asarray(each, np.float64).reshape(-1, each.shape[-1]) for each in (ours, theirs))
    cosine: NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1)
    return cosine / np.linalg.norm(b, axis=1)


def told(what: str, ours: Any, theirs: Any) -> float:
    gap = float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())
    print(f"{what}: largest difference {gap:.2e} of values up to {np.abs(theirs).max():.3g}")
    return gap


def same(ours: ModelNetwork, theirs: ModelNetwork) -> None:
    """Assert that two networks have the same weights, bit by bit."""
    other = theirs.state_dict()
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor.cpu(), other[name].cpu()), name


@pytest.mark.parametrize("name", ["i3d", "efficientnet_lite0"])
def test_features_in_float32_are_those_of_the_cpu(name: str) -> None:
    ours = features_of(name, DEVICE, "float32")
    assert told(name, ours, expected(name)) < 1e-4 * np.abs(expected(name)).max()
    np.testing.assert_allclose(ours, expected(name), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["i3d", "efficientnet_lite0"])
def test_features_in_bfloat16_point_the_same_way(name: str) -> None:
    found = cosines(features_of(name, DEVICE, "bfloat16"), expected(name))
    print(f"{name}: least cosine {found.min():.6f}")
    assert found.min() > (COSINE if name == "i3d" else 0.995)  # ReLU6 cuts; on a CPU 0.9978.


@pytest.mark.parametrize("precision", WAYS)
def test_the_same_video_gives_the_same_bytes(precision: PrecisionName) -> None:
    first, again = (np.asarray(features_of("i3d", DEVICE, precision)) for _ in range(2))
    told(precision, again, first)
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("precision", WAYS)
def test_size_of_the_batch_is_of_no_account(precision: PrecisionName) -> None:
    backbone = load_backbone("i3d", FULL_FRAME, engine="torch", device=DEVICE, precision=precision)
    clip = np.concatenate(list(SnippetReader(open_source(VIDEO), FULL_FRAME)))
    snippets = np.concatenate([clip] * 6)[:16]
    one = np.concatenate([backbone(each[None]) for each in snippets])
    for size in (2, 7, 16):
        parts = [snippets[i : i + size] for i in range(0, 16, size)]
        several = np.concatenate([backbone(part) for part in parts])
        gap, cosine = told(f"{precision}, {size} at once", several, one), cosines(several, one)
        print(f"least cosine {cosine.min():.7f}")
        assert cosine.min() > COSINE
        assert precision == "bfloat16" or gap < 1e-4 * np.abs(one).max()


def test_float32_is_not_tf32() -> None:
    """Of one convolution, beside float64: TF32 is off by some 3e-4 of the largest value."""
    torch.manual_seed(0)
    network, x = nn.Conv3d(64, 64, 3), torch.randn(2, 64, 8, 28, 28)
    truth = network.double()(x.double()).detach().numpy()
    network.float()
    found = torch_runner(network, x.dim(), Runtime("torch", DEVICE, "float32"))(x)
    assert told("float32", found, truth) < 2e-5 * np.abs(truth).max()


def test_pixels_are_the_same_floats() -> None:
    snippets = np.random.default_rng(0).integers(0, 256, (2, 4, 30, 40, 3)).astype(np.uint8)
    assert (to_input(snippets, DEVICE).cpu().numpy() == to_input(snippets)).all()


def test_what_auto_is() -> None:
    choice = choose_runtime(device=DEVICE)
    print(choice)
    assert (choice.engine, choice.device) == ("torch", "cuda")


def networks() -> dict[str, tuple[nn.Module, Tensor]]:
    torch.manual_seed(0)
    aisfx = load_weights(Aisfx(), read_state_dict(AISFX_WEIGHTS, "aisfx"), "aisfx")
    return {
        "aisfx": (aisfx, torch.rand(5, 100, 96)),
        "vggish": (VGGish(), torch.randn(5, 1, 96, 64)),
        "i3d_flow": (I3D(2), torch.rand(2, 2, 16, 112, 112) * 2 - 1),
        "i3d": (read_i3d(I3D_WEIGHTS), torch.rand(2, 3, 32, 100, 140) * 2 - 1),
    }


@pytest.mark.parametrize("name", ["aisfx", "vggish", "i3d_flow", "i3d"])
def test_networks_of_other_backbones(name: str) -> None:
    network, x = networks()[name]
    theirs = torch_runner(network, x.dim(), Runtime("torch", "cpu", "float32"))(x)
    ours = torch_runner(network, x.dim(), Runtime("torch", DEVICE, "float32"))(x)
    assert told(name, ours, theirs) < 1e-4 * max(1e-3, np.abs(theirs).max())


def test_picture_and_sound_together() -> None:
    how = get_backbones("efficientnet_lite0")[0].preprocessing
    made = []
    for device in ("cpu", DEVICE):
        backbone = load_backbone(
            "efficientnet_lite0+aisfx", how, engine="torch", device=device, precision="float32"
        )
        made.append(extract_video(open_source(ROOT / "tests/data/fi150.mp4"),
                            backbone_spec(backbone, how), backbone).features.array)  # fmt: skip
    assert told("efficientnet_lite0+aisfx", made[1], made[0]) < 1e-3


@pytest.mark.parametrize("profile", ["best", "fast"])
def test_scores_are_those_of_the_cpu(profile: str) -> None:
    tracks = {
        (device, precision): Detector.load(
            "fight", profile=profile, device=device, engine="torch", precision=precision
        ).score(VIDEO)
        for device, precision in (("cpu", "float32"), (DEVICE, "float32"), (DEVICE, "bfloat16"))
    }
    theirs = tracks["cpu", "float32"].scores
    assert told("float32", tracks[DEVICE, "float32"].scores, theirs) < 1e-3
    assert told("bfloat16", tracks[DEVICE, "bfloat16"].scores, theirs) < 5e-2


def oddframe(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line, in a process of its own."""
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-m", "oddframe", *map(str, words)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_score_on_the_command_line(tmp_path: Path) -> None:
    scores = []
    for device in (DEVICE, "cpu"):
        words = "--device", device, "--engine", "torch", "--precision", "float32"
        oddframe("score", VIDEO, "--out", tmp_path / device, *words)
        (path,) = (tmp_path / device).rglob("*.json")
        scores.append(np.array(json.loads(path.read_text())["snippet_scores"]))
    assert told("oddframe score", *scores) < 1e-3


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Four of the demo's clips."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for path in sorted(DEMO_DATA.glob("*.mp4"))[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("precision", WAYS)
def test_a_cluster_makes_the_bytes_of_one_process(
    precision: PrecisionName, videos: Path, tmp_path: Path
) -> None:
    """Bytes: an actor of Ray sees the same card, and has the same batches."""
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'oddframe[ray]'")
    words = "extract", videos, "--device", DEVICE, "--engine", "torch", "--precision", precision
    oddframe(*words, "--store", tmp_path / "one")
    began = time.monotonic()
    oddframe(*words, "--store", tmp_path / "many", "--cluster", "local", "--jobs", 2)
    print(f"{time.monotonic() - began:.0f} s on a cluster of two actors")
    one, many = files_of(tmp_path / "one"), files_of(tmp_path / "many")
    assert len(one) == 4
    assert one == many


def test_a_killed_extraction_goes_on_to_the_same_bytes(
    clip_frames: list[Image], tmp_path: Path
) -> None:
    small = [cv2.resize(frame, (64, 48)) for frame in clip_frames]
    video = encode(tmp_path / "long.mp4", small * 40)
    words = ["extract", video, "--backbone", "efficientnet_lite0", "--stride", "1"]
    words += ["--device", DEVICE, "--store"]
    oddframe(*words, tmp_path / "whole")
    store = tmp_path / "killed"
    command = [sys.executable, "-m", "oddframe", *map(str, words), str(store)]
    run = subprocess.Popen(command, cwd=ROOT)
    while run.poll() is None and not list(store.glob("unfinished/*/done.json")):
        time.sleep(0.005)
    assert run.poll() is None, "it was done before it could be killed"
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not files_of(store).keys() & files_of(tmp_path / "whole").keys()
    oddframe(*words, store)
    whole, killed = files_of(tmp_path / "whole"), files_of(store)
    assert len(whole) == 1
    assert whole == killed


def config_of(name: str) -> TrainConfig:
    own = {"steps": 8, "normal_bags": 4, "abnormal_bags": 4, "segments": 32, "average": 0.9}
    method = {"name": name, "config": dict(SMALL.get(name, Small()).config)}
    return parse_config({"method": method, "recipe": own | {"lr": 1e-3}})


def made_videos() -> list[TrainingVideo]:
    rng = np.random.default_rng(0)
    found = []
    for i in range(12):
        x = np.abs(rng.normal(1, 1, (int(rng.integers(6, 60)), 16))).astype(np.float32)
        x[2:5, :4] += 4 * (i % 2)
        found.append(TrainingVideo((x,), bool(i % 2)))
    return found


@pytest.mark.parametrize("name", method_names())
def test_the_same_seed_gives_the_same_weights(name: str) -> None:
    """Of every method; and what is trained there scores the same on the CPU."""
    videos, config = made_videos(), config_of(name)
    first, again = (fit(videos, config, device=DEVICE) for _ in range(2))
    same(first.network, again.network)
    array = np.stack([videos[0].views[0]])
    there = first.network.score_views(array)
    assert first.network.standardise.mean.device.type == DEVICE
    here = first.network.cpu().score_views(array)
    assert np.isfinite(here).all()
    assert told(name, there, here) < 1e-3


def published() -> TrainConfig:
    """UR-DMU at its published widths, few bags: many snippets a bag for attention to add up."""
    method = {"name": "ur_dmu", "config": {"variant": "official"}}
    recipe = {"steps": 6, "normal_bags": 4, "abnormal_bags": 4, "segments": 200}
    return parse_config({"method": method, "recipe": recipe, "standardise": False})


def test_wide_attention_gives_the_same_weights() -> None:
    rng = np.random.default_rng(0)
    arrays = rng.random((8, 260, 1024), np.float32)
    videos = [TrainingVideo((x,), bool(i % 2)) for i, x in enumerate(arrays)]
    first, again = (fit(videos, published(), device=DEVICE).network for _ in range(2))
    same(first, again)


def config_of_killed_run() -> TrainConfig:
    recipe = {"average": 0.9, "feature_noise": 0.1, "feature_dropout": 0.1, "steps": 20}
    return small_config(recipe=recipe)


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.test_cuda as t
def step(done, total, loss):
    if done == 13:
        os.kill(os.getpid(), signal.SIGKILL)
t.fit(t.planted(8, 8, seed=3)[0], t.config_of_killed_run(), device=t.DEVICE,
    checkpoint=Path(sys.argv[1]), checkpoint_every=5, on_step=step)
"""


def test_a_killed_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert load_checkpoint(path).step == 10
    videos, _ = planted(8, 8, seed=3)
    whole = fit(videos, config_of_killed_run(), device=DEVICE)
    resumed = fit(videos, config_of_killed_run(), device=DEVICE, checkpoint=path)
    assert resumed.resumed_at == 10
    same(resumed.network, whole.network)


def test_one_seed_on_two_devices_learns_much_the_same() -> None:
    videos, _ = planted(20, 20, seed=3)
    ours, theirs = (fit(videos, small_config(), device=d).network.cpu() for d in (DEVICE, "cpu"))
    array = np.stack([videos[-1].views[0]])
    # Weights begin the same; dropout and noise are of another generator.
    assert told("scores", ours.score_views(array), theirs.score_views(array)) < 0.5


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_grid_of_trainings(jobs: int, tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        session = tiny_session(tmp_path / name, seeds=1, device=DEVICE)
        tasks = table_tasks(table_spec("table3", "ucf_crime", session.config), session.parts)
        assert not run_grid(session, tasks, GridPlan(jobs, 1))
        records = [read_training(record_path(task, session.setting)) for task in tasks]
        assert {record.device for record in records} == {DEVICE}
        found.append([record.figures for record in records])
    assert repr(found[0]) == repr(found[1])


def test_train_makes_a_model_file_that_scores_on_the_cpu(tmp_path: Path) -> None:
    """Features and training there; the file here."""
    rows = [(p, "fight" if p.name.startswith("fi") else "normal") for p in DEMO_DATA.glob("*.mp4")]
    rows = sorted(rows)[:4] + sorted(rows)[-4:]
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\n" + "".join(f"{p},{label}\n" for p, label in rows))
    config = tmp_path / "small.yaml"
    config.write_text(
        "method: {name: ur_dmu, config: {hidden: 24, heads: 2, head_dim: 8, depth: 1}}\n"
        "features: {backbone: efficientnet_lite0}\n"
        "recipe: {steps: 10, normal_bags: 2, abnormal_bags: 2, segments: 8}\n"
    )
    model = tmp_path / "m.safetensors"
    words = "train", listed, "--config", config, "--out", model, "--device", DEVICE
    oddframe(*words, "--store", tmp_path / "store")
    scores = [
        Detector.load(model, device=device, engine="torch", precision="float32").score(VIDEO).scores
        for device in ("cpu", DEVICE)
    ]
    assert told("trained there", scores[1], scores[0]) < 1e-3


class FixedNoise(UrDmuNetwork):
    """The network, its noise given by the formula."""

    seed: float

    def noise(self, like: Tensor) -> Tensor:
        return formula.noise(like, self.seed).to(like.device)


def test_ur_dmu_gives_the_figures_of_its_published_code() -> None:
    """Within the tolerance that the CPU is held to."""
    facts = json.loads(PART.read_text())
    network = FixedNoise(facts["dim"], CONFIG)
    network.seed = facts["seed_S"]
    formula.fill(network, facts["tensors"], facts["seed_S"])
    network = network.to(DEVICE)
    with deterministic():
        for length in (1, 5):
            x = formula.features((1, length, facts["dim"]), facts["seed_S"]).to(DEVICE)
            with torch.inference_mode():
                got = network(x).scores.cpu()
            told(f"T{length}", got[0], facts["eval"][f"T{length}"]["scores"])
            value_close(got, [facts["eval"][f"T{length}"]["scores"]], facts, "eval")
        x, labels = formula.features((4, 200, facts["dim"]), facts["seed_S"]), LABELS.to(DEVICE)
        loss = ur_dmu_loss(network(x.to(DEVICE), labels), labels, CONFIG)
        loss.total.backward()
    figures = facts["train_losses"]
    for ours, theirs in TERMS.items():
        told(ours, float(loss.terms[ours]), figures[theirs])
        value_close(loss.terms[ours].cpu(), figures[theirs], facts, "train_losses")
    value_close(loss.total.detach().cpu(), figures["total_loss"], facts, "train_losses")
    gradients_close(network.cpu(), facts["grad_l2"], facts)
