"""Several processes give the weights of one, bit by bit, and end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from oddframe.errors import OddframeError
from oddframe.methods.base import Loss
from oddframe.modelfile import load_model
from oddframe.training.distributed import ProcessGroup, SharedMicrobatches
from tests.training.precomputed import ready_made

ROOT = Path(__file__).parents[2]
# Everything that draws random numbers in training: dropout, the latent's noise, noise and gaps in
# features. Two parts: of three processes the last one has none.
CONFIG = """
method:
  name: ur_dmu
  config: {hidden: 16, heads: 2, head_dim: 8, depth: 1, dropout: 0.3, shortcut: true}
recipe:
  steps: 12
  normal_bags: 64
  abnormal_bags: 64
  segments: 33
  lr: 1.0e-3
  feature_noise: 0.1
  feature_dropout: 0.2
standardise: false
"""


def start(*args: str, processes: int = 1, module: str = "oddframe") -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    command = [sys.executable, "-m", module, *args]
    if processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*torchrun, f"--nproc-per-node={processes}", *command[1:]]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, env=env, cwd=ROOT)
    return ran.returncode, ran.stdout, ran.stderr


def listed(folder: Path) -> Path:
    """A CSV of ready-made features."""
    dataset = ready_made(folder / "features", 6)
    lines = [f"features/{v.path.name},{v.label},{v.group}" for v in dataset.videos]
    path = folder / "videos.csv"
    path.write_text("\n".join(["path,label,group", *lines]) + "\n")
    return path


@pytest.mark.slow
def test_two_processes_give_the_weights_of_one(tmp_path: Path) -> None:
    """With the default method two processes were off by 27 % of a tensor after 300 steps."""
    out = tmp_path / "found.json"
    code, _, error = start(str(out), processes=2, module="tests.training.compare_processes")
    assert code == 0, error
    found = json.loads(out.read_text())
    assert {name for name, (one, two, _) in found.items() if one != two} == set()
    shared = {name for name, (_, _, shared) in found.items() if shared}
    large = {f"{name}, large batches" for name in ("ur_dmu", "oddframe", "linear")}
    assert shared == {"urdmu_published", *large}


@pytest.mark.slow
def test_several_processes_write_the_files_of_one(tmp_path: Path) -> None:
    data, config = listed(tmp_path), tmp_path / "config.yaml"
    config.write_text(CONFIG)
    weights, said = [], []
    for processes in (1, 3):
        out = tmp_path / f"by_{processes}.safetensors"
        command = ["train", str(data), "--config", str(config), "--out", str(out)]
        code, output, error = start(*command, processes=processes)
        assert code == 0, error
        weights.append(load_model(out).network.state_dict())
        said.append(output.replace(out.stem, ""))
    assert weights[0].keys() == weights[1].keys()
    for name, one in weights[0].items():
        assert torch.equal(weights[1][name], one), name
    assert said[0] == said[1]  # Printed by one process.
    logs = [(tmp_path / f"by_{processes}.log.jsonl").read_text() for processes in (1, 3)]
    assert logs[0] == logs[1]


@pytest.mark.slow
def test_a_failed_training_is_reported_once(tmp_path: Path) -> None:
    """Only one process meets the loss that is not finite; the others are told and stop, too."""
    data, config = listed(tmp_path), tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("lr: 1.0e-3", "lr: 1.0e+12"))
    out = str(tmp_path / "m.safetensors")
    code, _, error = start("train", str(data), "--config", str(config), "--out", out, processes=2)
    assert code == 1
    assert error.count("training stopped at step") == 1


@given(st.integers(1, 40), st.integers(1, 9))
def test_microbatches_are_shared_in_order(parts: int, world: int) -> None:
    shares = [ProcessGroup(rank, world).share(parts) for rank in range(world)]
    assert [part for share in shares for part in share] == list(range(parts))
    assert len(shares[0]) == max(map(len, shares)) == -(-parts // world)


def test_a_skipped_microbatch_draws_its_random_numbers() -> None:
    torch.manual_seed(0)
    layer, drop, x = nn.Linear(5, 5), nn.Dropout(0.3), torch.randn(6, 7, 5)

    def backward(part: int) -> Loss:
        y = drop(layer(x[part : part + 2].mT.mT)) + torch.randn_like(x[:2, :3].mT)[:, :, :1].mT
        y = F.dropout(y, p=0.2, training=False) + torch.rand_like(y) + drop(y)
        y.square().mean().backward()  # type: ignore[no-untyped-call]
        return Loss(y.detach().mean(), {})

    layer.zero_grad()
    torch.manual_seed(1)
    expected = [backward(part).total.item() for part in range(4)]
    state = torch.get_rng_state()

    layer.zero_grad()
    torch.manual_seed(1)
    shared = SharedMicrobatches(ProcessGroup(), 4, list(layer.parameters()))
    shared.mine = range(1, 3)
    losses = shared.gradients(lambda: backward)
    assert [loss.total.item() for loss in losses] == expected[1:3]
    assert torch.equal(torch.get_rng_state(), state)


def test_random_numbers_that_are_not_recorded_are_refused() -> None:
    layer = nn.Linear(5, 1)

    def backward(_part: int) -> Loss:
        loss = layer(torch.randn(3, 5)).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return Loss(loss.detach(), {})

    with pytest.raises(OddframeError, match="train in one process"):
        SharedMicrobatches(ProcessGroup(), 2, list(layer.parameters())).gradients(lambda: backward)
