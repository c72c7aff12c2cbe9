"""``oddframe watch`` on the command line: what it prints, how it ends, and what it never shows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from oddframe.cli.demo import DEMO_DATA
from tests.cli.conftest import Answer
from tests.cli.test_process import ENV, START

FIGHT, QUIET = DEMO_DATA / "fi026.mp4", DEMO_DATA / "nofi057.mp4"


def test_the_demo_clips_as_live_cameras(oddframe: Callable[..., Answer], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = oddframe("watch", FIGHT, QUIET, "--as-live", "--out", out, "--json")
    assert done.code == 0
    printed = [json.loads(line) for line in done.out.splitlines()]
    written = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    assert printed == written
    events = [each for each in written if each["type"] == "event"]
    assert {each["camera"] for each in events} == {"fi026"}
    assert [each["kind"] for each in events if each["kind"] != "update"] == ["new", "end"]
    assert (out / events[-1]["clip"]).exists()
    assert (out / events[-1]["picture"]).exists()
    assert "all sources are over: 1 event" in done.err


def test_cameras_yaml_with_a_schedule_that_is_over(
    oddframe: Callable[..., Answer], tmp_path: Path
) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(f"cameras:\n  yard:\n    source: {FIGHT}\n    snooze_until: 2999-01-01\n")
    done = oddframe(
        "watch", "--cameras", path, "--as-live", "--out", tmp_path / "out", "--no-clips"
    )
    assert done.code == 0
    assert "yard: online" in done.out
    assert "event" not in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["watch"], "name sources to watch"),
        (["watch", "ftp://me:hunter2@h/x"], "addresses begin with rtsp"),
        (["watch", str(FIGHT)], "--as-live"),
        (["watch", "rtsp://me:hunter2@h/x", "--model", "absent"], "absent"),
        (["watch", "rtsp://me:hunter2@h/x", "--cameras", "c.yaml"], "name sources to watch"),
        (["score", "rtsp://me:hunter2@127.0.0.1/x"], "only local files"),
    ],
)
def test_wrong_calls_are_one_line_without_passwords(
    oddframe: Callable[..., Answer], words: list[str], message: str
) -> None:
    done = oddframe(*words)
    assert done.code in (2, 3)
    assert message in done.err
    assert words[0] == "score" or "hunter2" not in done.err + done.out


def start(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", START, "watch", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )


def wait_for_line(path: Path, text: str) -> None:
    until = time.monotonic() + 60
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_events(number: int, code: int, tmp_path: Path) -> None:
    long = tmp_path / "long.mp4"
    subprocess_words = ["ffmpeg", "-v", "error", "-stream_loop", "20", "-i", str(FIGHT)]
    try:
        subprocess.run([*subprocess_words, "-c", "copy", "-an", str(long)], check=True)
    except FileNotFoundError:
        pytest.skip("no ffmpeg (make servers)")
    path = tmp_path / "out" / "events.jsonl"
    process = start(long, "--as-live", "--out", tmp_path / "out")
    wait_for_line(path, '"new"')
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    events: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    ids = [each["id"] for each in events if each.get("kind") == "new"]
    assert [each["id"] for each in events if each.get("kind") == "end"] == ids
    assert "event over" in out
    assert "Traceback" not in err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_password_is_not_in_the_process_title_output_or_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("rtsp://me:hunter2@127.0.0.1:9/x", "--out", out)
    wait_for_line(out / "events.jsonl", "offline")
    titles = b""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(folder.name) == process.pid or int(status[1]) == process.pid:
                    titles += (folder / "cmdline").read_bytes()
            except OSError:
                continue
    assert b"127.0.0.1" in titles
    process.send_signal(signal.SIGINT)
    printed = "".join(process.communicate(timeout=30))
    files = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert "127.0.0.1" in printed
    for text in (titles, printed.encode(), files):
        assert b"hunter2" not in text


def test_messages_reach_a_webhook_and_options_reach_the_sinks(
    oddframe: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[tuple[str | None, dict[str, Any]]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["Oddframe-Signature"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK_SECRET", "s")
    address = f"http://127.0.0.1:{server.server_address[1]}/hook"
    words = ["--webhook", address, "--webhook-secret", "env:HOOK_SECRET", "--keep-days", "1"]
    done = oddframe("watch", QUIET, "--as-live", "--out", tmp_path / "out", *words)
    server.shutdown()
    server.server_close()
    assert done.code == 0
    assert [(bool(signature), each["state"]) for signature, each in got] == [(True, "online")]
