"""Several processes train what one does; the others are gone when it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from oddframe.errors import OddframeError, UsageError
from oddframe.modelfile import load_model
from oddframe.training.distributed import Ranks
from oddframe.training.shared_chance import SharedChance
from tests.training.ready import ready_made

# Everything that draws chance in training: dropout, the latent's noise, noise and gaps in features.
UR_DMU = """
method:
  name: ur_dmu
  config: {hidden: 24, heads: 2, head_dim: 8, depth: 1, classifier_hidden: 16, dropout: 0.3}
"""
OF_NORMAL = UR_DMU.replace("dropout: 0.3", "dropout: 0.3, memory: normal")
SEVERAL = """
method:
  name: oddframe
  config: {hidden: 24, heads: 2, head_dim: 8, dropout: 0.3}
"""
CONFIG = """
recipe:
  steps: 12
  normal_bags: 4
  abnormal_bags: 6
  segments: 8
  lr: 1.0e-3
  feature_noise: 0.1
  feature_dropout: 0.2
standardise: false
"""


def start(*args: str, processes: int = 1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oddframe", *args]
    if processes > 1:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*torchrun, f"--nproc-per-node={processes}", *command[1:]]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


def listed(folder: Path) -> Path:
    """A CSV of ready-made features."""
    dataset = ready_made(folder / "features", 6)
    lines = [f"features/{v.path.name},{v.label},{v.group}" for v in dataset.videos]
    path = folder / "videos.csv"
    path.write_text("\n".join(["path,label,group", *lines]) + "\n")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bags", "method"), [("video", UR_DMU), ("joined", OF_NORMAL), ("video", SEVERAL)]
)
def test_two_processes_train_what_one_does(tmp_path: Path, bags: str, method: str) -> None:
    data, config = listed(tmp_path), tmp_path / "config.yaml"
    config.write_text(f"{method}{CONFIG}bags:\n  mode: {bags}\n")
    networks, said = [], []
    for processes in (1, 2):
        out = tmp_path / f"by_{processes}.safetensors"
        ran = start(
            "train", str(data), "--config", str(config), "--out", str(out), processes=processes
        )
        assert ran.returncode == 0, ran.stderr
        networks.append(load_model(out).network.state_dict())
        said.append(ran.stdout.replace(out.stem, ""))
    for name, one in networks[0].items():
        torch.testing.assert_close(networks[1][name], one, atol=1e-4, rtol=1e-4, msg=name)
    assert said[0] == said[1]  # By one voice, not by two.


@pytest.mark.slow
def test_what_cannot_be_trained_is_said_once(tmp_path: Path) -> None:
    data, config = listed(tmp_path), tmp_path / "config.yaml"
    config.write_text(UR_DMU + CONFIG.replace("normal_bags: 4", "normal_bags: 5"))
    ran = start("train", str(data), "--config", str(config), processes=2)
    assert ran.returncode == 1
    lines = [line for line in ran.stderr.splitlines() if "cannot be shared evenly" in line]
    assert len(lines) == 1
    assert "recipe.normal_bags" in lines[0]


def test_bags_are_shared_evenly_or_not_at_all() -> None:
    ranks = [Ranks(rank, 4) for rank in range(4)]
    assert [list(range(8)[r.share(8)]) for r in ranks] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    with pytest.raises(UsageError, match="multiples of 4"):
        ranks[0].check(8, 6)
    assert Ranks.here() == Ranks(0, 1)


@given(
    normal=st.integers(1, 4),
    abnormal=st.integers(1, 4),
    world=st.integers(1, 3),
    seed=st.integers(0),
)
def test_shared_chance_is_that_of_one_process(
    normal: int, abnormal: int, world: int, seed: int
) -> None:
    bags = normal * world, abnormal * world
    total = sum(bags)

    def draw(n_bags: int, n_normal: int) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(seed % 2**32)
        x = torch.ones(n_bags, 3, 5)
        dropped = F.dropout(x, 0.4)
        heads = torch.randn_like(x[:, :, :2].repeat_interleave(2, dim=0))  # Two rows a bag.
        noise = torch.randn_like(x[:n_normal])
        return dropped, heads, noise, torch.rand_like(x[:, :1]), torch.nn.Dropout(0.5)(x)

    whole = draw(total, bags[0])
    for rank in range(world):
        ranks = Ranks(rank, world)
        mine = [*range(bags[0])[ranks.share(bags[0])]]
        both = mine + [bags[0] + i for i in range(bags[1])[ranks.share(bags[1])]]
        pairs = [2 * i + j for i in both for j in range(2)]
        with ranks.chance(*bags):
            found = draw(len(both), len(mine))
        for ours, all_rows, rows in zip(found, whole, (both, pairs, mine, both, both), strict=True):
            assert torch.equal(ours, all_rows[rows])


def test_what_cannot_be_shared_is_refused() -> None:
    with SharedChance(4, 4, range(2), range(2)), pytest.raises(OddframeError, match="7 rows"):
        torch.randn_like(torch.ones(7, 2))
