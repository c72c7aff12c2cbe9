"""No command connects to another machine or writes into the home folder, except its cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import LINEAR
from tests.conftest import ROOT
from tests.training.precomputed import ready_made

Run = Callable[..., str]

# Runs first in each Python process, children included: records and refuses connections to other
# machines.
GUARD = """
import os, sys

LOG = os.environ["NETWORK_LOG"]
LOOK_UPS = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
SENDS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOCAL = ("127.", "::1", "localhost", "::ffff:127.")

def guard(event, args):
    if event in LOOK_UPS:
        host = args[0]
    elif event in SENDS and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    if host is None or str(host).startswith(LOCAL):
        return
    with open(LOG, "a") as log:
        log.write(f"{event} {host} by {sys.argv}\\n")
    raise OSError("no route out")

sys.addaudithook(guard)
"""
# The same for processes that are not Python, as strace prints it.
_CONNECT = re.compile(r"connect\(.*AF_INET")
_LOOPBACK = re.compile(r'"(127\.|::1"|::ffff:127\.)|AF_INET6.*"::"')

# Replaces OpenVINO's telemetry and records what it would send.
RECORDER = """
import os

class Telemetry:
    def __init__(self, *args, **kwargs):
        pass

    def send_event(self, *args, **kwargs):
        with open(os.environ["NETWORK_LOG"], "a") as log:
            log.write(f"{args}\\n")

    start_session = end_session = send_error = send_stack_trace = send_event
"""
CONVERT = """
import torch
from oddframe.backbones.engines import Runtime, openvino_runner
from oddframe.backbones.torch_runner import convert

runtime = Runtime("openvino", "cpu", "float32")
network, example = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
run = openvino_runner(convert(network, example), runtime)
print(run(torch.zeros(2, 3, 8, 8).numpy()).shape)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def guarded(tmp_path: Path, home: Path) -> Run:
    """``guarded("-m", "oddframe", ...)`` returns the addresses that the process tried to reach."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    log, trace = tmp_path / "network.log", tmp_path / "trace.log"
    own = ("HOME", "ODDFRAME_CACHE", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    env = {name: value for name, value in os.environ.items() if name not in own}
    env |= {
        "HOME": str(home),
        "NETWORK_LOG": str(log),
        "PYTHONPATH": f"{tmp_path / 'guard'}:{ROOT / 'src'}",
        "OMP_NUM_THREADS": "1",
    }
    strace = shutil.which("strace")
    tracer = [strace, "-f", "--seccomp-bpf", "-qq", "-e", "trace=connect", "-o", str(trace)]

    def run(*words: object) -> str:
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(
            [*tracer, *command] if strace else command,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        tried = log.read_text() if log.exists() else ""
        lines = trace.read_text().splitlines() if trace.exists() else []
        return tried + "".join(
            f"{x}\n" for x in lines if _CONNECT.search(x) and not _LOOPBACK.search(x)
        )

    return run


def other_files(home: Path) -> list[Path]:
    """The files in a home folder outside our own cache."""
    ours = {home / ".cache", home / ".cache" / "oddframe"}
    return [
        p for p in home.rglob("*") if p not in ours and home / ".cache/oddframe" not in p.parents
    ]


def test_the_guard_detects_connections(guarded: Run) -> None:
    look_up = "import socket, contextlib\nwith contextlib.suppress(OSError):\n    "
    assert "telemetry.invalid" in guarded(
        "-c", f"{look_up}socket.getaddrinfo('telemetry.invalid', 1)"
    )
    assert "192.0.2.1" in guarded("-c", f"{look_up}socket.create_connection(('192.0.2.1', 9), 1)")


@pytest.mark.slow
def test_no_command_connects_or_writes_into_the_home_folder(
    guarded: Run, home: Path, clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    data = ready_made(tmp_path / "data")
    rows = [f"{v.path.name},{v.label},{v.group}" for v in data.videos]
    table, model = tmp_path / "data" / "list.csv", tmp_path / "model.safetensors"
    table.write_text("\n".join(["path,label,group", *rows]) + "\n")
    (tmp_path / "small.yaml").write_text(LINEAR)
    out = tmp_path / "out"
    oddframe = ("-m", "oddframe")
    assert guarded(*oddframe, "score", clip, "--out", out, "--format", "csv,png,html") == ""
    light = ("--backbone", "efficientnet_lite0", "--store", tmp_path / "store", "--jobs", 2)
    assert guarded(*oddframe, "extract", clip, normal_clip, *light) == ""
    config = ("--config", tmp_path / "small.yaml")
    assert guarded(*oddframe, "train", table, *config, "--out", model) == ""
    assert guarded(*oddframe, "evaluate", model, table, "--out", tmp_path / "study") == ""
    assert (home / ".cache" / "oddframe" / "matplotlib").is_dir()
    assert other_files(home) == []


@pytest.mark.slow
def test_a_local_cluster_connects_to_this_machine_only(
    guarded: Run, home: Path, clip: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray.data", reason="Ray is not installed: pip install 'oddframe[ray]'")
    light = ("--backbone", "efficientnet_lite0", "--store", tmp_path / "store", "--jobs", 1)
    assert guarded("-m", "oddframe", "extract", clip, *light, "--cluster", "local") == ""
    assert other_files(home) == []


@pytest.mark.parametrize("first", ["oddframe", "openvino"])
def test_openvino_sends_nothing_in_any_order_of_imports(
    guarded: Run, tmp_path: Path, first: str
) -> None:
    pytest.importorskip("openvino")
    package = tmp_path / "guard" / "openvino_telemetry"
    (package / "backend").mkdir(parents=True)
    (package / "__init__.py").write_text(RECORDER)
    (package / "backend" / "__init__.py").write_text("backend_ga4 = None\n")
    sent = guarded("-c", f"import {first}\n{CONVERT}").splitlines()
    own = ["('ov', 'import', 'general_import')"] if first == "openvino" else []
    assert sent == own, "what was done after oddframe was imported is reported"
