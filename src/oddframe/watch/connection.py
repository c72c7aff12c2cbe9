"""Connects to a camera in the network or of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import av

from oddframe.errors import InputError
from oddframe.video.decoding.container import OpenVideo
from oddframe.watch.sources import Source

OPEN_S = 10.0  # A connection must stand by then.
# Formats whose time stamps FFmpeg invents, as their streams have none.
_NO_STAMPS = frozenset({"mjpeg", "mpjpeg", "mjpeg_2000", "h264", "hevc"})


@dataclass(frozen=True)
class CameraConnection:
    """An open connection.

    Attributes:
        video: What comes from it.
        has_stamps: Whether the camera sends times of its pictures.
        is_recording: Whether it is a finished video on a web server, which states how long or how
            large it is; a live stream does not.
    """

    video: OpenVideo
    has_stamps: bool
    is_recording: bool


@contextmanager
def connect(source: Source, silence_s: float) -> Iterator[CameraConnection]:
    """Connect for the block; a connection that is silent for ``silence_s`` fails.

    Raises:
        InputError: the camera sends no video that can be decoded.
        av.FFmpegError: it cannot be reached, or sends nothing that can be understood.
    """
    options = {"protocol_whitelist": source.protocols}
    if source.kind == "network":
        options["format_whitelist"] = source.formats
        options["analyzeduration"] = "2000000"
        if source.address.startswith("rtsp"):
            # What was read to find the format is dropped; a recording would lack its beginning.
            options |= {"rtsp_transport": "tcp", "fflags": "nobuffer"}
    container = av.open(
        source.address,
        format="v4l2" if source.kind == "device" else None,
        options=options,
        timeout=(OPEN_S, silence_s),
        metadata_errors="replace",
    )
    with container:
        stream = next(iter(container.streams.video), None)
        if stream is None or stream.codec_context is None:
            raise InputError(f"{source.shown}: it sends no video that FFmpeg can decode")
        stream.codec_context.thread_count = 1
        has_stamps = container.format.name not in _NO_STAMPS
        video = OpenVideo(container, stream)
        has_size = container.size > 0
        is_finite = bool(video.duration_s) or ("hls" not in container.format.name and has_size)
        is_recording = source.address.startswith("http") and has_stamps and is_finite
        yield CameraConnection(video, has_stamps, is_recording)
