"""Real servers on 127.0.0.1 for the tests of ``watch``; tests skip where they are missing."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

_SYSTEM_PYTHON = "/usr/bin/python3"
_SCRIPT = Path(__file__).with_name("rtsp_server.py")
_TYPELIB = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
)


@lru_cache
def has_rtsp_server() -> bool:
    """Whether GStreamer's RTSP server is installed, as ``make servers`` does."""
    if not Path(_SYSTEM_PYTHON).exists():
        return False
    return subprocess.run([_SYSTEM_PYTHON, "-c", _TYPELIB], capture_output=True).returncode == 0


needs_rtsp_server = pytest.mark.skipif(
    not has_rtsp_server(), reason="no GStreamer RTSP server (make servers)"
)
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg (make servers)")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RtspServer:
    """Plays a video at ``address``; it may be killed, stalled and started again."""

    def __init__(self, video: Path, login: str = "") -> None:
        self.port, self.video, self._login = free_port(), video, login
        host = f"{login}@127.0.0.1" if login else "127.0.0.1"
        self.address = f"rtsp://{host}:{self.port}/cam"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        words = [_SYSTEM_PYTHON, str(_SCRIPT), str(self.port), str(self.video)]
        self.process = subprocess.Popen(
            [*words, *([self._login] if self._login else [])],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def rtsp_server(video: Path, login: str = "") -> Iterator[RtspServer]:
    """A server that runs for the block."""
    server = RtspServer(video, login)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def http_server(folder: Path) -> Iterator[str]:
    """A server of the files in a folder; yields its address."""
    handler = partial(_QuietHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def run_watch(*words: str) -> subprocess.Popen[str]:
    """``watch_brightness`` in a process of its own; closing its standard input stops it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.watch.watch_brightness", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def wait_for(condition: object, timeout_s: float = 20.0) -> None:
    """Wait until ``condition()`` is true."""
    assert callable(condition)
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)
