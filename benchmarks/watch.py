"""Measure ``oddframe watch``: how late a message is, and how many cameras this machine holds.

    python benchmarks/watch.py latency [--seconds 120] [--profile best]
    python benchmarks/watch.py cameras [--seconds 60] [--profile best] [--least 1] [--most 12]

Cameras are a file of the demo's clips at 320x240 and 10 frames a second, played in real time; each
is read by a process of its own, as always. ``latency``: from when the first frame of an event
arrived to its first message, of one camera; the model's own share is said beside it. ``cameras``:
the number is raised by one until less than 95 % of the snippets are looked at.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from oddframe.cli.demo import DEMO_DATA
from oddframe.stream import StreamScorer
from oddframe.watch.cameras_file import CameraSection, CamerasSection
from oddframe.watch.delivery import Delivery, Sink
from oddframe.watch.messages import CameraEvent, Message
from oddframe.watch.setup import WatchDefaults, open_cameras
from oddframe.watch.watcher import WatchedCamera, Watcher

FPS = 10
COMPLETE = 0.95


def make_video(path: Path) -> None:
    """All clips of the demo, one after the other, each followed by a quiet one."""
    with (DEMO_DATA / "clips.csv").open() as file:
        names = [Path(next(iter(row.values()))).name for row in csv.DictReader(file)]
    present = [name for name in names if (DEMO_DATA / name).exists()]
    present = present or sorted(path.name for path in DEMO_DATA.glob("*.mp4"))
    fights = [name for name in present if name.startswith("fi")]
    quiet = [name for name in present if name.startswith("no")]
    order = [name for pair in zip(fights, quiet, quiet[::-1], strict=False) for name in pair]
    inputs = [word for name in order for word in ("-i", str(DEMO_DATA / name))]
    scaled = "".join(
        f"[{i}:v]scale=320:240,setsar=1,fps={FPS},settb=1/{FPS}[v{i}];" for i in range(len(order))
    )
    joined = "".join(f"[v{i}]" for i in range(len(order)))
    graph = f"{scaled}{joined}concat=n={len(order)}:v=1[v]"
    words = ["ffmpeg", "-v", "error", *inputs, "-filter_complex", graph, "-map", "[v]"]
    subprocess.run([*words, "-g", "20", "-bf", "0", "-c:v", "libx264", str(path)], check=True)


class Latencies(Sink):
    """Collects how late the first message of each event was (s)."""

    name = "latencies"

    def __init__(self) -> None:
        self.values: list[float] = []

    def send(self, message: Message) -> None:
        """Take a message when it is delivered."""
        if isinstance(message, CameraEvent) and message.kind == "new":
            self.values.append(time.time() - message.start.timestamp())


def watch(cameras: list[WatchedCamera], seconds: float, sinks: list[Any]) -> dict[str, float]:
    """Watch for some seconds; returns the share of snippets that were looked at, by camera."""
    with tempfile.TemporaryDirectory() as folder:
        delivery = Delivery(Path(folder), sinks, say=lambda _: None)
        until = 0.0

        def tick(watcher: Watcher) -> None:
            nonlocal until
            until = until or time.monotonic() + seconds
            if time.monotonic() > until:
                watcher.stop()

        try:
            watcher = Watcher(
                cameras,
                delivery,
                files=None,
                memory_bytes=10**9,
                say=lambda _: None,
                on_tick=tick,
            )
            return watcher.run().coverage
        finally:
            delivery.close(5.0)


def open_copies(video: Path, count: int, profile: str) -> list[WatchedCamera]:
    """So many cameras that show the same, again and again."""
    sections = {f"cam{i}": CameraSection(source=str(video)) for i in range(count)}
    opened = open_cameras(
        CamerasSection(cameras=sections), WatchDefaults(profile=profile), as_live=True
    )
    return [replace(each, source=replace(each.source, loops=10**6)) for each in opened]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["latency", "cameras"])
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--profile", choices=["best", "fast"], default="best")
    parser.add_argument("--least", type=int, default=1, help="cameras to begin with")
    parser.add_argument("--most", type=int, default=12, help="cameras to stop at")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "video.mp4"
        make_video(video)
        if given.what == "latency":
            measure_latency(video, given.seconds or 120.0, given.profile)
        else:
            measure_cameras(
                video, given.seconds or 60.0, given.profile, range(given.least, given.most + 1)
            )


def measure_latency(video: Path, seconds: float, profile: str) -> None:
    """Print the median and the 95 % quantile of how late first messages are."""
    cameras = open_copies(video, 1, profile)
    sink = Latencies()
    coverage = watch(cameras, seconds, [sink])
    camera = cameras[0]
    own_s = StreamScorer(camera.model, camera.spec, camera.rule, fps=FPS).latency_s
    values = sorted(sink.values)
    if len(values) < 2:
        raise SystemExit(f"{len(values)} events in {seconds:g} s: too few")
    high = statistics.quantiles(values, n=20)[-1]
    print(
        f"{profile}: {len(values)} events in {seconds:g} s, from their first frame to the message: "
        f"median {statistics.median(values):.2f} s, 95 % {high:.2f} s (the model's own share: at "
        f"most {own_s:.2f} s; looked at {coverage['cam0']:.0%})"
    )


def measure_cameras(video: Path, seconds: float, profile: str, counts: range) -> None:
    """Print the coverage of so many cameras, then of one more, until it is incomplete."""
    held = 0
    for count in counts:
        coverage = watch(open_copies(video, count, profile), seconds, [])
        least = min(coverage.values())
        print(f"{profile}: {count} cameras: at least {least:.0%} looked at", flush=True)
        if least < COMPLETE:
            break
        held = count
    print(f"{profile}: {held} cameras of 320x240 at {FPS} fps are held, {seconds:g} s each")


if __name__ == "__main__":
    main()
