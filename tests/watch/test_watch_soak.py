"""Hours of stream, as fast as they go: the memory of all processes is flat.

``ODDFRAME_SOAK_HOURS=10`` (``make soak``) replays ten hours; the suite some minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.watch.servers import run_watch
from tests.watch.test_watch_crash import finish
from tests.watch.test_watch_sources import events
from tests.watch.watch_brightness import make_clip

HOURS = float(os.environ.get("ODDFRAME_SOAK_HOURS", "0.3"))
LEVELS = [(40, 20.0), (220, 4.0), (40, 36.0)]  # A minute with one event.


def memory_bytes(process: subprocess.Popen[str]) -> int:
    """Resident memory of a process and its children."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = 0
    for folder in Path("/proc").iterdir():
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(folder.name) == process.pid or int(fields[1]) == process.pid:
                total += int((folder / "statm").read_text().split()[1]) * page
        except (OSError, ValueError, IndexError):
            continue
    return total


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_is_flat_over_a_long_replay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    clip = make_clip(tmp_path / "a.mp4", LEVELS)
    minutes = round(HOURS * 60)
    words = ("--speed", "inf", "--loops", str(minutes))
    process = run_watch(str(out), str(clip), *words)
    sizes: list[int] = []
    while process.poll() is None:
        sizes.append(memory_bytes(process))
        time.sleep(0.5)
    assert finish(process) == 0
    sizes = sizes[: -max(2, len(sizes) // 20)]  # Without the end.
    first, last = sizes[len(sizes) // 4 : len(sizes) // 2], sizes[-len(sizes) // 4 :]
    print(f"{HOURS:g} h: {max(first) / 1e6:.0f} MB, at the end {max(last) / 1e6:.0f} MB")
    assert max(last) < max(first) * 1.1 + 20e6
    assert len(events(out)) == pytest.approx(minutes, abs=1)
