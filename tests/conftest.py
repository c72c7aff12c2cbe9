"""Real clips for every test, and broken or odd videos made from them with PyAV.

Fixtures for all tests: ``shared_data`` (the data sets beside the repository, or a skip), ``clip``
and ``normal_clip`` (two short real clips that are part of the project), ``write_video`` (frames ->
file) and ``bad_video`` (a file that is wrong in a named way).
"""

from __future__ import annotations

import os
import random
import signal
import wave
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# A busy machine is no failure: no example has a deadline. Examples are the same in every run, so
# that a change is what breaks a test; ``--hypothesis-profile random`` looks for new ones.
settings.register_profile("oddframe", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("oddframe")

# A shell starts what runs in its background with Ctrl-C ignored, and processes inherit that: the
# tests of Ctrl-C would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


def extend_section(title: str) -> str:
    """The section of docs/extend.md with this title; tests run the code in it."""
    page = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
    (text,) = (part for part in page.split("\n## ") if part.startswith(f"{title}\n"))
    return text


Image = NDArray[np.uint8]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared data sets; the test is skipped where there is none."""
    named = os.environ.get("ODDFRAME_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (set ODDFRAME_SHARED to its folder)")
    return folder


@pytest.fixture(scope="session")
def parity(shared_data: Path) -> Path:
    """The folder of figures that published code printed."""
    return shared_data.parent / "parity"


@pytest.fixture(scope="session")
def clip() -> Path:
    """A real fight: 50 frames of 352x240 at 25 fps, with sound."""
    return ROOT / "tests" / "data" / "fi150.mp4"


@pytest.fixture(scope="session")
def normal_clip() -> Path:
    """A real scene without a fight: 60 frames of 320x240 at 29.97 fps, no sound."""
    return ROOT / "tests" / "data" / "nofi079.mp4"


@pytest.fixture(scope="session")
def clip_frames(clip: Path) -> list[Image]:
    """The 50 frames of ``clip``, (240, 352, 3) RGB."""
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def without_start(whole: Path, path: Path, packets: int = 7) -> None:
    """Write the packets of a video's picture behind the first ``packets``."""
    with av.open(str(whole)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if packet.dts is not None and number >= packets:
                packet.stream = stream
                new.mux(packet)


def encode(
    path: Path,
    frames: Iterable[Image],
    *,
    fps: float = 25,
    times: Iterable[float] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write RGB frames as a video; ``times`` (s) are the frames' time stamps, else constant."""
    frames = list(frames)
    stamps = list(times) if times is not None else [i / fps for i in range(len(frames))]
    tick = Fraction(1, 90_000)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.time_base = stream.codec_context.time_base = tick
        stream.options = options if options is not None else {"preset": "ultrafast", "g": "25"}
        for image, time_s in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(time_s / tick), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source: Path, path: Path, options: dict[str, str] | None = None) -> Path:
    """The video packets of ``source`` in another container, not encoded anew."""
    with av.open(str(source)) as old, av.open(str(path), "w", options=options or {}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return path


def keep_part(path: Path, share: float) -> Path:
    """Cut a file off after a share of its bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def flip_bits(path: Path, count: int, seed: int = 0) -> Path:
    """Flip ``count`` random bits in the media data of an MP4, its index left whole."""
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    length = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    dice = random.Random(seed)
    for _ in range(count):
        data[start + dice.randrange(length)] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """``write_video(path, frames, fps=25, times=None, codec="libx264", ...) -> path``."""
    return encode


BAD_VIDEOS = (
    "missing",  # No such file.
    "text",  # Not a video.
    "empty",  # Zero bytes.
    "audio_only",  # A sound file.
    "no_moov",  # An MP4 whose recording was cut before its index was written.
    "cut_header",  # The first 30 bytes of an MP4.
    "no_pictures",  # A whole container around packets that are all noise.
)
ODD_VIDEOS = (
    "one_frame",
    "fifteen_frames",
    "cut_mp4",  # Index first, media cut in half.
    "cut_mkv",  # Cut in half.
    "bit_flips",  # 250 frames, 12 bits of the media flipped.
)


@pytest.fixture
def bad_video(tmp_path: Path, clip: Path, clip_frames: list[Image]) -> Callable[[str], Path]:
    """``bad_video(kind) -> path``: nothing to be had from ``BAD_VIDEOS``, something from the rest.

    Kinds: missing, text, empty, audio_only, no_moov, cut_header, no_pictures; one_frame,
    fifteen_frames, cut_mp4, cut_mkv, bit_flips.
    """

    def make(kind: str) -> Path:
        folder = tmp_path / "bad"
        folder.mkdir(exist_ok=True)
        path = folder / f"{kind}.mp4"
        match kind:
            case "missing":
                return path
            case "text":
                path.write_text("This is not a video.\n" * 100)
            case "empty":
                path.touch()
            case "audio_only":
                path = path.with_suffix(".wav")
                with wave.open(str(path), "wb") as sound:
                    sound.setparams((1, 2, 8000, 0, "NONE", "NONE"))
                    sound.writeframes(bytes(16_000))
            case "no_moov":
                keep_part(remux(clip, path), 0.6)
            case "cut_header":
                path.write_bytes(clip.read_bytes()[:30])
            case "no_pictures":
                remux(clip, path, {"movflags": "faststart"})
                data = bytearray(path.read_bytes())
                start = data.index(b"mdat") + 4
                data[start:] = random.Random(0).randbytes(len(data) - start)
                path.write_bytes(data)
            case "one_frame":
                encode(path, clip_frames[:1])
            case "fifteen_frames":
                encode(path, clip_frames[:15])
            case "cut_mp4":
                keep_part(remux(clip, path, {"movflags": "faststart"}), 0.5)
            case "cut_mkv":
                path = keep_part(remux(clip, path.with_suffix(".mkv")), 0.5)
            case "bit_flips":
                flip_bits(encode(path, clip_frames * 5), 12)
            case _:
                raise ValueError(kind)
        return path

    return make
