"""Samples a few pictures from a video by seeking, without decoding all of it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import av
import numpy as np

from oddframe._utils.files import is_dir
from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo, open_video, read_packets
from oddframe.video.decoding.folder import pictures_in, read_picture
from oddframe.video.decoding.isolated import call_isolated
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import FrameTransform, Image

# If seeking finds fewer key frames than this, every tenth of the first 250 frames is taken instead.
_MIN_KEY_FRAMES = 5
_FIRST_FRAMES, _STEP = 250, 10


def sample_pictures(path: Path, size: tuple[int, int], count: int = 9) -> list[Image]:
    """Sample pictures (h, w, 3) RGB, uint8, in display order, at least one.

    A video file gives up to ``count`` evenly spaced key frames; if it has fewer than five, every
    tenth of its first 250 frames. A folder of frames gives ``count`` evenly spaced pictures.

    Args:
        path: Video file or folder of frames.
        size: (width, height) of the pictures.
        count: Number of pictures.

    Raises:
        InputError: the file does not exist, no picture in it can be decoded, or decoding it ended
            the child process.
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
