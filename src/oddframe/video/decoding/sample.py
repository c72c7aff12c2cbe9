"""A few pictures from all over a video, had by jumping and not by decoding everything."""

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
from oddframe.video.frame import Image
from oddframe.video.snippets.transforms import FrameTransform

# Where jumping gives fewer pictures than this, they are taken from the start.
_ENOUGH = 5
_FROM_START, _EVERY = 250, 10


def sample_pictures(path: Path, size: tuple[int, int], count: int = 9) -> list[Image]:
    """Pictures (h, w, 3) RGB, uint8, in the order of showing, at least one.

    From a video file up to ``most`` key frames, evenly far from each other; where there are fewer
    than five of them, every tenth of its first 250 frames. From a folder of frames ``most``.

    Args:
        path: Video file or folder of frames.
        size: (width, height) of the pictures.
        count: How many.

    Raises:
        InputError: there is no such file, no picture in it that can be decoded, or decoding it
            broke the child process in which that is done.
    """
    images: list[Image] = call_isolated(path, _sample, path, size, count)
    return images


def _sample(path: Path, size: tuple[int, int], most: int) -> list[Image]:
    scaler = Scaler(FrameTransform(size))
    if is_dir(path):
        return _from_folder(path, scaler, most)
    with open_video(path) as video:
        video.stream.codec_context.thread_count = 1  # One picture at a time: nothing to share.
        found = _key_frames(video, scaler, most)
    if len(found) >= min(_ENOUGH, most):
        return [found[pts] for pts in sorted(found)]
    return [f.image for f in islice(VideoFile(path).frames(size), 0, _FROM_START, _EVERY)]


def _from_folder(folder: Path, scaler: Scaler, most: int) -> list[Image]:
    files = pictures_in(folder)
    images = []
    for i in sorted({round(i) for i in np.linspace(0, len(files) - 1, most)} if files else ()):
        try:
            images.append(scaler.scale_rgb(read_picture(files[i])))
        except InputError:
            continue
    if not images:
        raise InputError(f"{folder}: no picture could be read")
    return images


def _key_frames(video: OpenVideo, scaler: Scaler, most: int) -> dict[int, Image]:
    """Key frames by time stamp; what cannot be jumped to or decoded is left out."""
    stream, length = video.stream, video.duration_s
    found: dict[int, Image] = {}
    if length is None or stream.time_base is None:
        return found
    for share in np.linspace(0, 1, most, endpoint=False):
        target = (stream.start_time or 0) + int(share * length / stream.time_base)
        try:
            video.container.seek(target, stream=stream)
            packet = next((p for p in read_packets(video.container, stream) if p.is_keyframe), None)
            if packet is None or packet.pts is None or packet.pts in found:
                continue
            # A decoder holds pictures back until it knows their order; asked for the end, it gives.
            decoder = stream.codec_context
            for picture in [*decoder.decode(packet), *decoder.decode(None)][:1]:
                turns = round(picture.rotation / 90) % 4
                found[packet.pts] = scaler.scale_decoded(picture, turns)
        except av.FFmpegError:
            continue
    return found
