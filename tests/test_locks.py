"""Locks: one process holds a lock, and a dead process does not block others."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oddframe._utils.locks import ProcessLock
from oddframe.errors import OddframeError
from oddframe.training.run_files import RunFiles

HOLDER = """
import sys, time
from pathlib import Path
from oddframe.training.run_files import RunFiles
with RunFiles(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""
COUNTER = """
import sys
from pathlib import Path
from oddframe._utils.locks import ProcessLock
count = Path(sys.argv[1])
for _ in range(200):
    lock = ProcessLock(count.parent / "deep" / "count.lock")
    assert lock.acquire(60)
    count.write_text(str(int(count.read_text()) + 1))
    lock.release()
"""


def test_a_held_lock_is_refused_and_that_of_a_killed_process_acquired(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "deep" / "m.safetensors")
    path = tmp_path / "deep" / "m.lock"
    words = [sys.executable, "-c", HOLDER, str(files.out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            for _ in range(2):
                with pytest.raises(OddframeError) as error, files.locked():
                    pass
        finally:
            holder.send_signal(signal.SIGKILL)
            holder.wait()
    line = str(error.value)
    assert line.startswith(f"{files.out}: another training is at work there")
    assert f"(process {holder.pid})" in line
    assert "--out" in line
    assert path.exists(), "left behind"
    with files.locked():
        assert path.read_text().strip().isdigit()
    assert not path.exists()


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "m.safetensors")
    with pytest.raises(KeyError), files.locked():
        raise KeyError
    with files.locked():
        pass


def test_a_second_lock_of_the_same_process_is_refused(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "m.lock")
    assert lock.acquire()
    other = ProcessLock(tmp_path / "m.lock")
    assert not other.acquire()
    other.release()
    assert not other.acquire()
    lock.release()
    assert other.acquire()


def test_only_one_process_holds_the_lock_while_its_file_is_replaced(tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.write_text("0")
    words = [sys.executable, "-c", COUNTER, str(count)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: subprocess.run(words, check=True), range(4)))
    assert len(done) == 4
    assert count.read_text() == "800"
    assert not list((tmp_path / "deep").iterdir())
