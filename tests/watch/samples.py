"""Messages and videos for the tests of ``watch``."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import numpy as np

from oddframe.timeline import SimilarClip
from oddframe.watch.messages import CameraEvent, CameraState

START = datetime(2026, 3, 4, 23, 59, 58, 250_000, tzinfo=UTC)


def event(kind: Any = "new", number: int = 0, id: str = "yard-20260304T235958Z-0a1b2c3d", **other):
    """An event of the camera ``yard``."""
    fields = {
        "kind": kind,
        "id": id,
        "camera": "yard",
        "start": START,
        "end": START + timedelta(seconds=4),
        "peak": START + timedelta(seconds=2.5),
        "start_s": 61.25,
        "end_s": 65.25,
        "score": 0.875,
        "where": (0.25, 0.5, 0.75, 1.0),
        "boxes": ((0.25, 0.5, 0.75, 1.0),),
        "similar": (SimilarClip("fights/a.mp4", 3.5, "fight", True, 0.75),),
        "number": number,
    }
    return CameraEvent(**(fields | other))


def state(state: Any = "offline", **other) -> CameraState:
    """A state of the camera ``yard``."""
    return CameraState(**({"camera": "yard", "state": state, "since": START, "text": "x"} | other))


def encode(
    path: Path,
    codec: str,
    n_frames: int = 50,
    gop: int = 10,
    options: Any = None,
    pix_fmt: str = "yuv420p",
) -> None:
    """A noise that moves, 160 x 128 at 25 fps, with a key frame every ``gop`` frames."""
    noise = np.random.default_rng(0).integers(0, 255, (128, 160, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.gop_size = 160, 128, gop
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else pix_fmt
        for i in range(n_frames):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, 3 * i, axis=1))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def frames(path: Path) -> list[np.ndarray]:
    """All frames of a video, RGB."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def make_certificate(folder: Path) -> None:
    """``cert.pem`` and ``key.pem`` for localhost, signed by nobody but itself."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2 "
        "-addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, capture_output=True, check=True)
