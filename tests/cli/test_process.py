"""The program as a process: closed and full streams, Ctrl-C at the start, files that vanish."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oddframe.cli.console import standard_streams
from tests.cli.conftest import Answer
from tests.conftest import ROOT, encode
from tests.video.test_isolated import huge

ENV = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
COMMAND = f"{sys.executable} -m oddframe"
# What the installed program does. The tests may have been started with Ctrl-C ignored.
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from oddframe.__main__ import main; main()"
)


def shell(command: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command], env={**ENV, **more}, capture_output=True, text=True, timeout=120
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("words", ["methods", "--help"])
@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_full_standard_output_is_one_line(words: str, buffered: str) -> None:
    done = shell(f"{COMMAND} {words} >/dev/full", PYTHONUNBUFFERED=buffered)
    reason = "standard output cannot be written (no space left on device)"
    assert (done.returncode, done.stderr) == (1, f"oddframe: {reason}\n")


def test_a_closed_standard_output_is_one_line() -> None:
    done = shell(f"{COMMAND} methods >&-")
    reason = "standard output cannot be written (it is closed)"
    assert (done.returncode, done.stderr) == (1, f"oddframe: {reason}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_closed_standard_error_changes_nothing() -> None:
    for where in ("2>/dev/full", "2>&-"):
        done = shell(f"{COMMAND} methods {where}")
        assert done.returncode == 0
        assert "ur_dmu" in done.stdout


def test_a_reader_that_closes_the_pipe_is_not_a_failure() -> None:
    done = shell(f"{COMMAND} methods --json | head -n 1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1


def test_streams_are_restored(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with standard_streams():
        print("answer")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "answer\n"


@pytest.mark.parametrize("module", ["oddframe.cli.main", "typer", "oddframe.scoring"])
def test_ctrl_c_while_the_program_starts(tmp_path: Path, module: str) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def interrupt(event, details):\n"
        f"    if event == 'import' and details[0] == {module!r}:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(interrupt)\n"
    )
    path = f"{tmp_path}{os.pathsep}{ENV['PYTHONPATH']}"
    done = subprocess.run(
        [sys.executable, "-c", START, "score", "nothing.mp4"],
        env={**ENV, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 130
    assert done.stderr in ("", "oddframe: stopped; what was finished is kept\n")


def test_broken_links_do_not_stop_other_videos(
    oddframe: Callable[..., Answer], tmp_path: Path, normal_clip: Path
) -> None:
    shutil.copy(normal_clip, tmp_path / "good.mp4")
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "dangling.mp4").symlink_to("nothing.mp4")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "self").symlink_to("self")
    words = ("score", tmp_path / "loop.mp4", tmp_path)
    answer = oddframe(*words, "--profile", "fast")
    assert answer.code == 3
    for name in ("loop.mp4", "dangling.mp4"):
        assert f"{name}: a symbolic link that leads nowhere\n" in answer.err
    assert "good.mp4 (2.0 s)" in answer.out
    assert "fault" not in answer.err


def test_a_file_that_vanishes_while_it_is_read(
    oddframe: Callable[..., Answer], tmp_path: Path, normal_clip: Path
) -> None:
    shutil.copy(normal_clip, tmp_path / "good.mp4")
    noise = np.random.default_rng(0).integers(0, 256, (100, 64, 96, 3), np.uint8)
    path = encode(tmp_path / "a.mp4", np.concatenate([noise] * 8))

    def remove() -> None:
        time.sleep(0.1)
        path.unlink()

    for out in (None, tmp_path / "out"):
        thread = threading.Thread(target=remove)
        thread.start()
        more = () if out is None else ("--out", out, "--format", "html")
        answer = oddframe("score", path, tmp_path / "good.mp4", "--profile", "fast", *more)
        thread.join()
        # The file is open and goes on being read, or it is gone before that.
        assert answer.code in (0, 3)
        assert "fault" not in answer.err
        assert "good.mp4 (2.0 s)" in answer.out
        encode(path, noise)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts memory as Linux does")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_video_that_takes_too_much_memory_does_not_end_a_batch(
    oddframe: Callable[..., Answer], tmp_path: Path, normal_clip: Path, jobs: int
) -> None:
    path = huge(tmp_path / "huge.mkv")
    words = ("score", path, normal_clip, "--profile", "fast", "--jobs", jobs)
    answer = oddframe(*words, "--memory", 0.25)
    assert answer.code == 3
    assert "huge.mkv: its pictures need more memory than decoding may take (--memory" in answer.err
    assert "nofi079.mp4 (2.0 s)" in answer.out
    assert oddframe("info", path, "--memory", 0.25).code == 3
    assert oddframe("info", path).code == 0  # The limits are those of one command.
