"""Watches cameras with a model whose score is the brightness: as ``oddframe watch``, but light.

``python -m tests.watch.watch_brightness OUT SOURCE...`` runs it in a process of its own.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from oddframe.backbones.base import Backbone, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.events import EventRule
from oddframe.features.spec import Features, FeatureSpec
from oddframe.timeline import ScoreTrack
from oddframe.watch.delivery import Delivery
from oddframe.watch.event_files import EventFiles
from oddframe.watch.jsonl import JsonlSink
from oddframe.watch.reader_protocol import ReaderSettings
from oddframe.watch.sources import parse_source
from oddframe.watch.watcher import WatchedCamera, Watcher, WatchSummary

GREY = FeatureSpec(
    backbone="grey", weights_sha256="", dim=1, crops=("full",), resize=(16, 16), crop_size=(16, 16),
    filter="bicubic", snippet_frames=5, stride=5, rate=25.0,
)  # fmt: skip
RULE = EventRule(0.6, 0.4, 0.2, 0.2, 0.2)
FPS = 25


def brightness(delay_s: float = 0.0) -> Backbone:
    """A backbone whose only feature is the mean brightness."""

    def encode(snippets: Any) -> Any:
        time.sleep(delay_s)
        return snippets.mean((1, 2, 3, 4))[:, None].astype(np.float32) / 255

    runtime = Runtime("torch", "cpu", "float32")
    return Backbone("grey", (1,), "", runtime, (VisualEncoder(encode, 1),))


class Brightness:
    """A model whose score is the only number of a feature."""

    def scores_alone(self) -> bool:
        return True

    def score(self, features: Features) -> ScoreTrack:
        array = np.asarray(features.array[0, :, 0], np.float64)
        return ScoreTrack(array, features.timebase, boxes=features.boxes)


def make_clip(
    path: Path,
    levels: Sequence[tuple[int, float]],
    size: tuple[int, int] = (64, 48),
    is_still: bool = False,
) -> Path:
    """A video of moving noise; ``levels``: (brightness, seconds) one after the other."""
    noise = np.random.default_rng(0).integers(-30, 30, (size[1], size[0], 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.gop_size, stream.max_b_frames = FPS // 2, 0
        number = 0
        for level, seconds in levels:
            for _ in range(round(seconds * FPS)):
                picture = np.clip(
                    np.roll(noise, 0 if is_still else 3 * number, axis=1) + level, 0, 255
                )
                frame = av.VideoFrame.from_ndarray(np.repeat(picture, 3, axis=2).astype(np.uint8))
                container.mux(stream.encode(frame))
                number += 1
        container.mux(stream.encode())
    return path


def camera(name: str, source: Any, backbone: Backbone, **settings: Any) -> WatchedCamera:
    """A camera whose brightness is its score."""
    return WatchedCamera(
        name,
        source,
        ReaderSettings(GREY.preprocessing, **settings),
        Brightness(),  # type: ignore[arg-type]
        GREY,
        backbone,
        RULE,
    )


def watch(
    cameras: Sequence[WatchedCamera],
    out: Path,
    *,
    for_s: float = 60.0,
    until: Callable[[Watcher], bool] = lambda _: False,
    clips: bool = True,
    said: list[str] | None = None,
) -> WatchSummary:
    """Watch until the sources are over, ``until`` is true, or time is up."""
    lines = [] if said is None else said
    delivery = Delivery(out / "journal", [JsonlSink(out / "events.jsonl")], say=lines.append)
    stops_at = time.monotonic() + for_s

    def tick(watcher: Watcher) -> None:
        if time.monotonic() > stops_at or until(watcher):
            watcher.stop()

    try:
        files = EventFiles(out) if clips else None
        return Watcher(
            cameras, delivery, files=files, memory_bytes=10**9, say=lines.append, on_tick=tick
        ).run()
    finally:
        delivery.close(5.0)


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--loops", type=int, default=1)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--no-clips", action="store_true")
    given = parser.parse_args()
    sources = [parse_source(each, as_live=True) for each in given.sources]
    sources = [replace(each, loops=given.loops, speed=given.speed) for each in sources]
    backbone = brightness()
    cameras = [camera(f"cam{i}", each, backbone) for i, each in enumerate(sources)]
    threading.Thread(target=_stop_with_stdin, daemon=True).start()
    print("started", flush=True)
    watch(cameras, given.out, for_s=1e9, clips=not given.no_clips, until=lambda _: _stop.is_set())


_stop = threading.Event()


def _stop_with_stdin() -> None:
    sys.stdin.read()
    _stop.set()


if __name__ == "__main__":
    _main()
