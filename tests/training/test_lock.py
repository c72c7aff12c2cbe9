"""The lock: one process at a time, and a dead one holds nobody up."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from oddframe.errors import OddframeError
from oddframe.training.lock import alone

HOLDER = """
import sys, time
from pathlib import Path
from oddframe.training.lock import alone
with alone(Path(sys.argv[1]), "model"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "m.lock"
    words = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            with pytest.raises(OddframeError) as error, alone(path, "m.safetensors"):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    line = str(error.value)
    assert line.startswith("m.safetensors: another training is at work there")
    assert f"(process {holder.pid})" in line
    assert "--out" in line
    assert path.exists(), "left behind"
    with alone(path, "m.safetensors"):
        assert path.read_text().strip().isdigit()
    assert not path.exists()


def test_it_is_let_go_of_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "m.lock"
    with pytest.raises(KeyError), alone(path, "m"):
        raise KeyError
    with alone(path, "m"):
        pass


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with (
        alone(tmp_path / "m.lock", "m"),
        pytest.raises(OddframeError, match="another training"),
        alone(tmp_path / "m.lock", "m"),
    ):
        pass
