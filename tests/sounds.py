"""Made sound, and videos with sound, written with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.conftest import Image


def tone(seconds: float, hertz: float = 440, rate: int = 48_000) -> NDArray[np.float32]:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def with_sound(
    path: Path,
    frames: list[Image],
    channels: list[NDArray[np.float32]],
    *,
    rate: int = 48_000,
    fps: int = 25,
    picture_at_s: float = 0.0,
    sound_at_s: float = 0.0,
    gap: tuple[float, float] | None = None,
    codec: str = "pcm_s16le",
) -> Path:
    """A video with sound; from ``gap[0]`` seconds on the sound's stamps are ``gap[1]`` later."""
    block = 960
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        layout = "stereo" if len(channels) == 2 else "mono"
        audio = container.add_stream(codec, rate=rate, layout=layout)
        tick = Fraction(1, 90_000)
        video.time_base = video.codec_context.time_base = tick
        packets = []
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round((number / fps + picture_at_s) / tick), tick
            packets += video.encode(frame)
        packets += video.encode(None)
        samples = np.stack(channels)
        for start in range(0, samples.shape[1], block):
            part = np.ascontiguousarray(samples[:, start : start + block])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            late = gap[1] if gap and start / rate >= gap[0] else 0.0
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = round((start / rate + sound_at_s + late) * rate)
            if codec == "pcm_s16le":
                frame = av.AudioResampler("s16", layout, rate).resample(frame)[0]
            packets += audio.encode(frame)
        packets += audio.encode(None)
        packets.sort(key=lambda p: p.pts * p.time_base)
        for packet in packets:
            container.mux(packet)
    return path
