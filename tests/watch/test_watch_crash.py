"""Killed at random moments, ``watch`` loses no announced event and gives none a second id.

``ODDFRAME_KILLS=50`` (``make soak``) kills more often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.watch.servers import needs_rtsp_server, rtsp_server, run_watch, wait_for
from tests.watch.test_watch_sources import events, messages
from tests.watch.watch_brightness import make_clip

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("ODDFRAME_KILLS", "4"))
DARK_S, BRIGHT_S = 1.6, 1.6


def finish(process: subprocess.Popen[str]) -> int:
    """Stop it as Ctrl-C does, and return its exit code."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    code = process.wait(30)
    process.stdout.close()
    return code


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Messages; what a killed process left of a last line does not count."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [json.loads(line) for line in whole.splitlines()]


@needs_rtsp_server
@pytest.mark.timeout(3600)
def test_kills_lose_no_event_and_give_no_second_id(tmp_path: Path) -> None:
    rng = random.Random(os.environ.get("ODDFRAME_SEED", "1"))
    out = tmp_path / "out"
    clip = make_clip(tmp_path / "a.mp4", [(40, DARK_S), (220, BRIGHT_S)] * 40)
    with rtsp_server(clip) as server:
        seen: dict[int, dict[str, Any]] = {}
        for _ in range(KILLS):
            process = run_watch(str(out), server.address)
            before = len(read_lines(out / "events.jsonl"))
            wait_for(lambda n=before: len(read_lines(out / "events.jsonl")) > n, 40)
            time.sleep(rng.uniform(0, 3))
            process.send_signal(signal.SIGKILL)
            process.wait()
            for message in read_lines(out / "events.jsonl"):
                assert seen.setdefault(message["number"], message) == message  # Nothing changes.
        process = run_watch(str(out), server.address)
        count = len(events(out))
        wait_for(lambda: len(events(out)) > count + 1, 60)
        assert finish(process) == 0
    found = messages(out)
    numbers = [each["number"] for each in found]
    assert numbers == sorted(set(numbers))  # The file has each message once.
    assert set(seen) <= set(numbers)
    kinds: dict[str, list[str]] = {}
    for each in found:
        if each["type"] == "event":
            kinds.setdefault(each["id"], []).append(each["kind"])
    assert len(kinds) >= 2
    for of_one in kinds.values():
        assert (of_one[0], of_one[-1]) == ("new", "end")
        assert set(of_one[1:-1]) <= {"update"}
    # No two events at one time: that would be one event under two ids.
    spans = sorted(
        (datetime.fromisoformat(each["start"]), datetime.fromisoformat(each["end"]))
        for each in events(out)
    )
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_an_event_goes_on_under_its_id_after_a_kill(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clip = make_clip(tmp_path / "a.mp4", [(220, 60.0)])
    for _ in range(2):
        process = run_watch(str(out), str(clip), "--no-clips")
        before = len(events(out, "update"))
        wait_for(lambda n=before: len(events(out, "update")) > n, 40)
        process.kill()
        process.wait()
    process = run_watch(str(out), str(clip), "--no-clips")
    wait_for(lambda: len(events(out, "update")) > 3, 40)
    assert finish(process) == 0
    assert len({each["id"] for each in messages(out) if each["type"] == "event"}) == 1
    (end,) = events(out)
    assert end["before"]["kind"] == "update"


def test_a_reader_that_is_killed_is_started_again(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("finds child processes by /proc")
    folder, out = tmp_path / "nvr", tmp_path / "out"
    folder.mkdir()
    process = run_watch(str(out), str(folder))
    time.sleep(3)
    clip = make_clip(tmp_path / "a.mp4", [(40, 1.0), (220, 1.0), (40, 1.0)])
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    wait_for(lambda: len(events(out)) == 1, 40)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        children += (task / "children").read_text().split()
    assert children
    os.kill(int(children[0]), signal.SIGKILL)
    time.sleep(4)
    (folder / "b.mp4").write_bytes(clip.read_bytes())
    wait_for(lambda: len(events(out)) == 2, 40)
    assert finish(process) == 0
    states = [each["state"] for each in messages(out) if each["type"] == "camera"]
    assert states == ["online", "offline", "online"]
