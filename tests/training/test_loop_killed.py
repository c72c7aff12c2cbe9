"""A training that is killed or interrupted ends with the same weights."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from oddframe.training.config import TrainConfig
from oddframe.training.loop import fit
from oddframe.training.run_files import load_checkpoint
from tests.training.planted import planted, small_config

ROOT = Path(__file__).resolve().parents[2]
STEPS = 240
EVERY = 7
CHILD = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from oddframe.training.loop import fit
from tests.training.planted import planted
from tests.training.test_loop_killed import EVERY, config
folder = Path(sys.argv[1])
fitted = fit(planted(8, 8, seed=3)[0], config(), log=folder / "log.jsonl",
    checkpoint=folder / "c.safetensors", checkpoint_every=EVERY)
save_file(fitted.network.state_dict(), folder / "weights.safetensors")
"""


def config() -> TrainConfig:
    """A run with everything that a checkpoint must bring back."""
    recipe = {"steps": STEPS, "average": 0.9, "feature_noise": 0.1, "feature_dropout": 0.1}
    return small_config(recipe=recipe)


def start(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)


def stop_at(folder: Path, step: int, how: signal.Signals) -> int:
    """Run until the log has ``step`` lines, then send ``how``: the exit code."""
    log = folder / "log.jsonl"
    before = log.stat().st_mtime_ns if log.exists() else 0
    with start(folder) as child:
        while child.poll() is None:
            # The run before may have got further than its last checkpoint: its lines do not count.
            fresh = log.exists() and log.stat().st_mtime_ns != before
            if fresh and log.read_bytes().count(b"\n") >= step:
                child.send_signal(how)
                break
            time.sleep(0.002)
        return child.wait()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, torch.Tensor], str]:
    """Weights and log of a run in one go."""
    log = tmp_path_factory.mktemp("unbroken") / "log.jsonl"
    fitted = fit(planted(8, 8, seed=3)[0], config(), log=log)
    return fitted.network.state_dict(), log.read_text()


def assert_ends_as(folder: Path, unbroken: tuple[dict[str, torch.Tensor], str]) -> None:
    with start(folder) as child:
        assert child.wait() == 0
    weights, log = unbroken
    found = load_file(folder / "weights.safetensors")
    assert found.keys() == weights.keys()
    for name, tensor in weights.items():
        assert torch.equal(found[name], tensor), name
    assert (folder / "log.jsonl").read_text() == log
    assert not (folder / "c.safetensors").exists()


@pytest.mark.slow
def test_ten_kills_do_not_change_the_weights(
    tmp_path: Path, unbroken: tuple[dict[str, torch.Tensor], str]
) -> None:
    done = 0
    for step in sorted(random.Random(6).sample(range(2 * EVERY, STEPS - 20), 10)):
        assert stop_at(tmp_path, step, signal.SIGKILL) == -signal.SIGKILL
        reached = load_checkpoint(tmp_path / "c.safetensors").step
        assert reached >= max(done, step - EVERY)
        done = reached
    assert_ends_as(tmp_path, unbroken)


@pytest.mark.slow
def test_an_interruption_does_not_change_the_weights(
    tmp_path: Path, unbroken: tuple[dict[str, torch.Tensor], str]
) -> None:
    assert stop_at(tmp_path, 100, signal.SIGINT) == -signal.SIGINT
    assert load_checkpoint(tmp_path / "c.safetensors").step >= 93
    assert_ends_as(tmp_path, unbroken)
