"""One decoding of a video for all formats that show it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, cast

from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError
from oddframe.outputs.registry import FrameConsumer, FrameWriter, OutputFormat, VideoTarget
from oddframe.video.frame import Frame, FrameSource
from oddframe.video.mask import Mask
from oddframe.video.source import open_source


class _Encoder(Protocol):
    def close(self, complete: bool = True) -> None: ...


_EncoderT = TypeVar("_EncoderT", bound=_Encoder)


class FrameConsumers:
    """Several consumers as one."""

    def __init__(self, consumers: Sequence[FrameConsumer]) -> None:
        self._consumers = consumers

    @property
    def done(self) -> bool:
        """Whether none needs a later frame."""
        return all(each.done for each in self._consumers)

    def add(self, frame: Frame) -> None:
        """Give the next frame to each."""
        for each in self._consumers:
            each.add(frame)


@contextmanager
def closing_encoder(encoder: _EncoderT) -> Iterator[_EncoderT]:
    """Finish an encoder's file at the end of the block, or give it up where the block raised."""
    try:
        yield encoder
    except BaseException:
        encoder.close(complete=False)
        raise
    encoder.close()


def write_video_formats(
    result: VideoResult,
    targets: Mapping[OutputFormat, VideoTarget],
    frames: VideoLike,
    mask: Mask | None,
) -> None:
    """Write the formats that show the video, decoding it once.

    Args:
        result: What to show.
        targets: Target of each format; ``readable`` is set here.
        frames: The video.
        mask: Ignored parts of the picture.

    Raises:
        InputError: the video ends in an error, or cannot be opened and a format needs it.
        OddframeError: a file cannot be written.
    """
    needed = any(each.needs_video for each in targets)
    source = _open(frames, result.track.timebase.fps, needed=needed)
    for target in targets.values():
        target.readable = source is not None
    with ExitStack() as stack:
        consumers = FrameConsumers(
            [
                stack.enter_context(cast(FrameWriter, each.load_writer())(result, target))
                for each, target in targets.items()
            ]
        )
        if source is not None:
            _decode(source, mask, consumers)


def _open(frames: VideoLike, fps: float, needed: bool) -> FrameSource | None:
    """The video; None if it cannot be opened and is not needed: scores may be of a feature file."""
    timed = isinstance(frames, str | Path) and not Path(frames).is_dir()
    try:
        return open_source(frames, fps=None if timed else fps)
    except InputError:
        if needed:
            raise
        return None


def _decode(source: FrameSource, mask: Mask | None, consumer: FrameConsumer) -> None:
    """Give every frame to the consumer until it is done."""
    for frame in source.frames():
        if consumer.done:
            break
        consumer.add(frame if mask is None else _masked(frame, mask))


def _masked(frame: Frame, mask: Mask) -> Frame:
    return Frame(lambda: mask.apply(frame.image), frame.time_s, frame.after_gap)
