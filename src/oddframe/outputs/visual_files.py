"""Figure, page and annotated video: everything that shows the video, from one decoding of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Protocol, TypeVar

from oddframe._utils.files import atomic_write
from oddframe.detector import VideoLike, VideoResult
from oddframe.errors import InputError
from oddframe.outputs.curve import write_png
from oddframe.outputs.highlights import KeyFrameCollector, event_peak_times, select_highlights
from oddframe.outputs.pages.report import Media, write_html
from oddframe.outputs.video.encode import (
    MAX_EMBEDDED_S,
    PreviewEncoder,
    plays_in_browsers,
    preview_encoder,
)
from oddframe.outputs.video.overlay import Annotator
from oddframe.video.frame import Frame, FrameSource
from oddframe.video.mask import Mask
from oddframe.video.source import open_source

# Events that get a picture on the page, the highest first: a page is not an archive.
_MOST_PICTURES = 200
_KEY_FRAME = 480


class _FrameConsumer(Protocol):
    @property
    def done(self) -> bool: ...

    def add(self, frame: Frame) -> None: ...

    def close(self, complete: bool = True) -> None: ...


_S = TypeVar("_S", bound=_FrameConsumer)


def write_visual_files(
    result: VideoResult,
    targets: Mapping[str, Path],
    preview: Path,
    frames: VideoLike,
    mask: Mask | None,
) -> list[Path]:
    """Write ``png``, ``html`` and ``mp4``, those that ``targets`` names.

    Args:
        result: What to show.
        targets: File by format.
        preview: Where a copy of a long video goes that no browser plays, without its ending.
        frames: The video. If it cannot be opened, figure and page do without.
        mask: Ignored parts of the picture.

    Returns:
        The preview, if one was written.

    Raises:
        InputError: the video ends in an error, or cannot be opened and ``mp4`` was asked for.
        OddframeError: a file cannot be written.
    """
    path = Path(frames) if isinstance(frames, str | Path) else None
    source = _open(frames, result.track.timebase.fps, needed="mp4" in targets)
    shown = select_highlights(result) if "png" in targets else ()
    peaks = _event_picture_times(result) if "html" in targets else {}
    catcher = KeyFrameCollector([*(moment.time_s for moment in shown), *peaks.values()], _KEY_FRAME)
    page = _PageVideo()
    with ExitStack() as stack:
        sinks: list[_FrameConsumer] = [stack.enter_context(_closing(catcher))]
        if "html" in targets and source is not None:
            masked = mask is not None
            page = _page_video(result, path, masked, targets["html"].parent, preview, stack)
            sinks += [stack.enter_context(_closing(sink)) for sink in page.sinks]
        if "mp4" in targets:
            part = stack.enter_context(atomic_write(targets["mp4"]))
            sinks.append(stack.enter_context(_closing(Annotator(part, result))))
        if source is not None:
            _decode_for(source, mask, sinks)
    images = catcher.images
    if "png" in targets:
        caught = {moment: images[moment.time_s] for moment in shown if moment.time_s in images}
        write_png(result, targets["png"], caught)
    if "html" in targets:
        pictures = {number: images[time] for number, time in peaks.items() if time in images}
        write_html(result, targets["html"], page.media(), pictures)
    return page.files


def _event_picture_times(result: VideoResult) -> dict[int, float]:
    """Number of each event that gets a picture -> its instant."""
    order = sorted(range(len(result.events)), key=lambda i: -result.events[i].score)
    times = event_peak_times(result)
    return {number: times[number] for number in sorted(order[:_MOST_PICTURES])}


@dataclass
class _PageVideo:
    """The page's copy of the video: what has to be fed, what comes of it, files beside the page."""

    sinks: list[PreviewEncoder] = field(default_factory=list)
    media: Callable[[], Media | None] = lambda: None
    files: list[Path] = field(default_factory=list)


def _page_video(
    result: VideoResult,
    path: Path | None,
    masked: bool,
    folder: Path,
    preview: Path,
    stack: ExitStack,
) -> _PageVideo:
    """A short video goes into the page; a long one is linked, copied first if it must be."""
    base = result.track.timebase
    if base.duration_s <= MAX_EMBEDDED_S:
        memory = BytesIO()
        encoder = preview_encoder(base.duration_s, embedded=True)
        copy = PreviewEncoder(memory, encoder, base.fps, embedded=True)
        return _PageVideo([copy], lambda: Media.embedded(encoder.mime, memory.getvalue()))
    if path is not None and not masked and path.is_file() and plays_in_browsers(path):
        link = Media.linked(_relative(path, folder))
        return _PageVideo(media=lambda: link)
    encoder = preview_encoder(base.duration_s, embedded=False)
    file = preview.with_name(f"{preview.name}.{encoder.container}")
    copy = PreviewEncoder(
        stack.enter_context(atomic_write(file)), encoder, base.fps, embedded=False
    )
    return _PageVideo([copy], lambda: Media.linked(file.name), [file])


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # Another drive.
        return path.resolve().as_posix()


@contextmanager
def _closing(sink: _S) -> Iterator[_S]:
    try:
        yield sink
    except BaseException:
        sink.close(complete=False)
        raise
    sink.close()


def _open(frames: VideoLike, fps: float, needed: bool) -> FrameSource | None:
    """The video; None if there is none (scores may come from a feature file) and none is needed."""
    timed = isinstance(frames, str | Path) and not Path(frames).is_dir()
    try:
        return open_source(frames, fps=None if timed else fps)
    except InputError:
        if needed:
            raise
        return None


def _decode_for(source: FrameSource, mask: Mask | None, sinks: Sequence[_FrameConsumer]) -> None:
    """Decode once, show every frame to every sink, stop when none needs more."""
    for frame in source.frames():
        if all(sink.done for sink in sinks):
            break
        if mask is not None:
            frame = _masked(frame, mask)
        for sink in sinks:
            sink.add(frame)


def _masked(frame: Frame, mask: Mask) -> Frame:
    return Frame(lambda: mask.apply(frame.image), frame.time_s, frame.after_gap)
