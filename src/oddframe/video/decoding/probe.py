"""Properties of a video and a few of its pictures, without decoding all of it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import numpy as np

from oddframe._utils.files import is_dir
from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo, open_video, read_packets
from oddframe.video.decoding.isolated import call_isolated
from oddframe.video.decoding.pictures import pictures_in, read_picture
from oddframe.video.decoding.reader import TOO_LARGE, VideoFile
from oddframe.video.decoding.scale import Scaler, quarter_turns
from oddframe.video.frame import DEFAULT_FPS, FrameTransform, Image

_PROBED_PACKETS = 1000
# Packets come in decoding order: pictures that are shown earlier may follow the last ones.
_REORDERED = 16
_MAX_JITTER_S = 2.5e-3  # Coarse time bases round to milliseconds.
# If seeking finds fewer key frames than this, every tenth of the first 250 frames is taken instead.
_MIN_KEY_FRAMES = 5
_FIRST_FRAMES, _STEP = 250, 10


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video; length and number of frames are None if its container lacks them."""

    path: Path  # The file, or the folder of frames.
    width: int  # Width and height are those of the frames as shown.
    height: int
    fps: float
    duration_s: float | None
    frames: int | None
    codec: str  # Such as ``h264``; for a folder of frames the picture format, ``png``.
    rotation: int  # Degrees anticlockwise by which frames are turned to be shown.
    has_audio: bool
    variable_frame_rate: bool  # This and the next: of the first thousand frames.
    gap_s: float = 0.0  # The longest gap in the time line.


def probe(path: str | Path) -> VideoInfo:
    """Open a file or a folder of frames in a child process; InputError if it is no video."""
    info: VideoInfo = call_isolated(Path(path), _probe, Path(path))
    return info


def _probe(path: Path) -> VideoInfo:
    if is_dir(path):
        return _probe_folder(path)
    with open_video(path) as video:
        stamps = _stamps_s(video)
        steps = np.diff(stamps)
        gap_s = _longest_gap_s(video, stamps)
    with open_video(path) as video:
        picture = _first_picture(path, video)
        turns = quarter_turns(picture)
        width, height = (picture.width, picture.height)[:: -1 if turns % 2 else 1]
        return VideoInfo(
            path=path,
            width=width,
            height=height,
            fps=video.fps,
            duration_s=video.duration_s,
            frames=video.frames,
            codec=video.stream.codec_context.name,
            rotation=turns * 90,
            has_audio=bool(video.container.streams.audio),
            variable_frame_rate=steps.size > 1 and bool(np.ptp(steps) > _MAX_JITTER_S),
            gap_s=gap_s,
        )


def _first_picture(path: Path, video: OpenVideo) -> av.VideoFrame:
    reason = "no picture could be decoded"
    for packet in read_packets(video.container, video.stream):
        try:
            if pictures := packet.decode():
                return pictures[0]
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                reason = TOO_LARGE
    raise InputError(f"{path}: {reason}")


def _stamps_s(video: OpenVideo) -> list[float]:
    """Time stamps of the first frames in display order, in seconds."""
    packets = islice(read_packets(video.container, video.stream), _PROBED_PACKETS)
    stamps = sorted(float(p.pts * p.time_base) for p in packets if p.pts is not None)
    return stamps[:-_REORDERED] if len(stamps) >= _PROBED_PACKETS else stamps


def _longest_gap_s(video: OpenVideo, stamps_s: list[float]) -> float:
    clock, longest, last = video.clock(), 0.0, 0.0
    for stamp in stamps_s:
        time = clock(stamp)
        if clock.after_gap:
            longest = max(longest, time - last)
        last = time
    return longest


def _probe_folder(folder: Path) -> VideoInfo:
    files = pictures_in(folder)
    if not files:
        raise InputError(f"{folder}: a folder without pictures; name a video in it")
    for file in files:
        try:
            height, width = read_picture(file).shape[:2]
        except InputError:
            continue
        return VideoInfo(
            path=folder,
            width=width,
            height=height,
            fps=DEFAULT_FPS,
            duration_s=len(files) / DEFAULT_FPS,
            frames=len(files),
            codec=file.suffix.lower().removeprefix("."),
            rotation=0,
            has_audio=False,
            variable_frame_rate=False,
        )
    raise InputError(f"{folder}: no picture could be read")


def sample_pictures(path: Path, size: tuple[int, int], count: int = 9) -> list[Image]:
    """Pictures (h, w, 3) of ``size`` (width, height) in display order; InputError if there is none.

    A video file gives up to ``count`` evenly spaced key frames; if it has fewer than five, every
    tenth of its first 250 frames. A folder of frames gives ``count`` evenly spaced pictures.
    """
    images: list[Image] = call_isolated(path, _sample, path, size, count)
    return images


def _sample(path: Path, size: tuple[int, int], count: int) -> list[Image]:
    scaler = Scaler(FrameTransform(size))
    if is_dir(path):
        return _from_folder(path, scaler, count)
    with open_video(path) as video:
        video.stream.codec_context.thread_count = 1  # Single pictures gain nothing from threads.
        pictures = _key_frames(video, scaler, count)
    if len(pictures) >= min(_MIN_KEY_FRAMES, count):
        return [pictures[pts] for pts in sorted(pictures)]
    return [f.image for f in islice(VideoFile(path).frames(size), 0, _FIRST_FRAMES, _STEP)]


def _from_folder(folder: Path, scaler: Scaler, count: int) -> list[Image]:
    files = pictures_in(folder)
    images = []
    for i in sorted({round(i) for i in np.linspace(0, len(files) - 1, count)} if files else ()):
        try:
            images.append(scaler.scale_rgb(read_picture(files[i])))
        except InputError:
            continue
    if not images:
        raise InputError(f"{folder}: no picture could be read")
    return images


def _key_frames(video: OpenVideo, scaler: Scaler, count: int) -> dict[int, Image]:
    """Evenly spaced key frames by time stamp, without those that cannot be reached or decoded."""
    stream, length = video.stream, video.duration_s
    pictures: dict[int, Image] = {}
    if length is None or stream.time_base is None:
        return pictures
    for share in np.linspace(0, 1, count, endpoint=False):
        target = (stream.start_time or 0) + int(share * length / stream.time_base)
        try:
            video.container.seek(target, stream=stream)
            packet = next((p for p in read_packets(video.container, stream) if p.is_keyframe), None)
            if packet is None or packet.pts is None or packet.pts in pictures:
                continue
            # A decoder returns a picture once it knows the order; decode(None) flushes it.
            decoder = stream.codec_context
            for picture in [*decoder.decode(packet), *decoder.decode(None)][:1]:
                pictures[packet.pts] = scaler.scale_decoded(picture)
        except av.FFmpegError:
            continue
    return pictures
