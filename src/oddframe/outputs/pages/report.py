"""The report: one page with the video, its score curve and its events, in one HTML file."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import atomic_write, write_text
from oddframe.detector import VideoResult
from oddframe.events import EventRule, match_events
from oddframe.outputs.drawing import (
    KEY_FRAME_SIDE,
    KeyFrameCollector,
    RgbImage,
    embedded_jpeg,
    even_size,
    event_peak_times,
    letterbox,
)
from oddframe.outputs.encode import (
    MAX_EMBEDDED_S,
    PreviewEncoder,
    closing_encoder,
    plays_in_browsers,
    preview_encoder,
)
from oddframe.outputs.pages.templates import Fact, render_template
from oddframe.outputs.registry import FrameConsumer, FrameConsumers, VideoTarget
from oddframe.outputs.text import format_clock, format_duration
from oddframe.timeline import Event, Timebase

_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 256, 78
# So many events have a picture on the page, those with the highest scores: pages stay small.
_MAX_PICTURES = 200


@dataclass(frozen=True)
class Media:
    """Where the page takes the video from.

    Attributes:
        url: A data URI, or a path relative to the page.
        note: What the page says about it, in plain text; may be empty.
    """

    url: str
    note: str = ""

    @classmethod
    def embedded(cls, mime: str, data: bytes) -> Media:
        """The video in the page itself."""
        return cls(f"data:{mime};base64,{b64encode(data).decode()}")

    @classmethod
    def linked(cls, path: str) -> Media:
        """A file beside the page; ``path`` is relative to it, with forward slashes."""
        note = f"The video is too long to be part of this page: it is played from {path}."
        return cls(quote(os.fsencode(path)), note)


@contextmanager
def report_writer(result: VideoResult, target: VideoTarget) -> Iterator[FrameConsumer]:
    """Take the frames of a video, then write its page; a writer of ``outputs.registry``."""
    order = sorted(range(len(result.events)), key=lambda i: -result.events[i].score)
    peaks = event_peak_times(result)
    times = {number: peaks[number] for number in sorted(order[:_MAX_PICTURES])}
    collector = KeyFrameCollector(times.values(), KEY_FRAME_SIDE)
    with _page_video(result, target) as shown:
        yield FrameConsumers([collector, *([shown.encoder] if shown.encoder else [])])
    collector.close()
    images = collector.images
    pictures = {number: images[time] for number, time in times.items() if time in images}
    write_html(result, target.path, shown.media, pictures)


@dataclass
class _PageVideo:
    """The video of the page: what encodes its copy, and where it is in the end."""

    encoder: PreviewEncoder | None = None
    media: Media | None = None


@contextmanager
def _page_video(result: VideoResult, target: VideoTarget) -> Iterator[_PageVideo]:
    """Embed a short video in the page; link a long one, or a copy that browsers play."""
    base, source = result.track.timebase, target.source
    if not target.readable:
        yield _PageVideo()
    elif base.duration_s <= MAX_EMBEDDED_S:
        memory = BytesIO()
        encoder = preview_encoder(base.duration_s, embedded=True)
        with closing_encoder(PreviewEncoder(memory, encoder, base.fps, embedded=True)) as copy:
            yield (shown := _PageVideo(copy))
        shown.media = Media.embedded(encoder.mime, memory.getvalue())
    elif source and not target.masked and source.is_file() and plays_in_browsers(source):
        yield _PageVideo(media=Media.linked(_relative(source, target.path.parent)))
    else:
        encoder = preview_encoder(base.duration_s, embedded=False)
        file = target.side_path(f"preview.{encoder.container}")
        with (
            atomic_write(file) as part,
            closing_encoder(PreviewEncoder(part, encoder, base.fps, embedded=False)) as copy,
        ):
            yield _PageVideo(copy, Media.linked(file.name))
        target.side_files.append(file)


def _relative(path: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:  # Another drive.
        return path.resolve().as_posix()


def write_html(
    result: VideoResult,
    path: Path,
    media: Media | None = None,
    pictures: Mapping[int, RgbImage] | None = None,
) -> None:
    """Write the page.

    Args:
        result: What to show.
        path: HTML file.
        media: The video; None: it could not be read, and the page says so.
        pictures: Key frames (h, w, 3) RGB by number of the event, from 0.

    Raises:
        OddframeError: the file cannot be written.
    """
    name = Path(result.video).name or result.video
    highest = result.highest_score
    no_events = _no_events(result.rule, highest)
    text = render_template(
        "report",
        style=("report",),
        script=("table", "report"),
        sources="img-src data:; media-src data: 'self' file:",
        over="oddframe report",
        title=f"{name}: oddframe report",
        name=name,
        summary=_summary(result, highest),
        about_model=f"The model “{result.model.name}” was trained to find {result.model.detects}. "
        "It does not look for anything else.",
        media=media,
        rule=result.rule,
        start_s=min(0.0, result.track.timebase.frame_times[0]),
        end_s=result.track.timebase.end_s,
        legend=_legend(result),
        pictures=bool(pictures),
        events=_events(result, pictures or {}),
        no_events=no_events,
        truth=_truth(result),
        facts=_facts(result),
        data={**_data(result), "none": no_events},
    )
    write_text(path, text)


def _summary(result: VideoResult, highest: float) -> str:
    duration = format_duration(result.track.timebase.duration_s)
    count = len(result.events)
    text = f"{count} event{_s(count)} in" if count else "No events found in"
    text += f" {duration}."
    text += f" Highest score {highest:.2f}, threshold {result.rule.threshold:.2f}."
    if result.truth is not None:
        match = match_events(result.events, result.truth)
        true = match.found + match.missed
        if true:
            text += f" {match.found} of {true} true event{_s(true)} found"
            text += f", {match.false or 'no'} false alarm{_s(match.false)}."
    return text


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _no_events(rule: EventRule, highest: float) -> str:
    if highest < rule.threshold:
        return f"None: the highest score is {highest:.2f}, the threshold {rule.threshold:.2f}."
    return f"None: what reaches the threshold is shorter than {rule.min_duration_s:g} s."


def _legend(result: VideoResult) -> list[tuple[str, str]]:
    score = "score"
    if result.rule.smooth_s:
        score += f", mean over {result.rule.smooth_s:g} s"
    entries = [("score", score), ("threshold", "threshold"), ("event", "event found")]
    if len(_parts(result.track.timebase)) > 1:
        entries.append(("gap", "no picture, no score"))
    if result.truth is not None:
        entries.append(("truth", "what really happens"))
    return entries


def _clock_format(base: Timebase) -> Callable[[float], str]:
    """Formats times of a video: with hours where it has some, tenths of a second or finer."""
    digits = 2 if base.duration_s < 1 else 1
    return partial(format_clock, decimals=digits, hours=_hours(base))


def _hours(base: Timebase) -> bool:
    return bool(base.end_s >= 3600)  # Not NumPy's bool, which is not JSON.


def _events(result: VideoResult, pictures: Mapping[int, RgbImage]) -> list[dict[str, Any]]:
    """Fields of each event for the template."""
    clock = _clock_format(result.track.timebase)
    return [
        {
            "start_s": event.start_s,
            "end_s": event.end_s,
            "score": event.score,
            "start": clock(event.start_s),
            "end": clock(event.end_s),
            "length": format_duration(event.duration_s),
            "peak": clock(event.peak_s),
            "shown_score": f"{event.score:.2f}",
            "real": _is_real(result, event),
            "picture": _thumbnail(pictures[number]) if number in pictures else None,
        }
        for number, event in enumerate(result.events)
    ]


def _is_real(result: VideoResult, event: Event) -> bool:
    return match_events([event], result.truth or ()).found > 0


def _thumbnail(picture: RgbImage) -> dict[str, Any]:
    width, height = even_size(picture.shape[1], picture.shape[0], _THUMBNAIL_SIDE)
    return embedded_jpeg(letterbox(picture, width, height), _THUMBNAIL_QUALITY)


def _truth(result: VideoResult) -> list[dict[str, Any]] | None:
    """Fields of each true interval for the template; None: they are not known."""
    if result.truth is None:
        return None
    clock = _clock_format(result.track.timebase)
    return [
        {
            "start_s": start,
            "start": clock(start),
            "end": clock(end),
            "found": match_events(result.events, [(start, end)]).found > 0,
        }
        for start, end in result.truth
    ]


def _facts(result: VideoResult) -> list[Fact]:
    base, model, rule = result.track.timebase, result.model, result.rule
    frames = f"{base.n_frames:,} frame{_s(base.n_frames)}"
    rate = "on average (variable)" if base.pts is not None else "a second"
    scores = f"{len(result.track.scores):,}, one for {base.snippet_frames} frames"
    if base.rate is not None:
        scores += f" at {base.rate:g} a second"
    event = f"starts at {rule.threshold:.3g}, ends below {rule.release:.3g}"
    if rule.min_duration_s:
        event += f", lasts at least {rule.min_duration_s:g} s"
    if rule.merge_gap_s:
        event += f"; gaps under {rule.merge_gap_s:g} s are closed"
    return [
        Fact("Video", f"{frames}, {base.fps:.5g} {rate}, {format_duration(base.duration_s)}"),
        Fact("Damage", _damage(result)),
        Fact("Model", f"{model.name} (oddframe {model.version})"),
        Fact("Trained to find", model.detects),
        Fact("Method", model.method),
        Fact("Backbone", model.backbone),
        Fact("Profile and engine", f"{model.profile}, {model.engine}"),
        Fact("Scores", scores),
        Fact("An event", event, "wide"),
        Fact("SHA-256 of the model file", model.sha256, "code"),
    ]


def _damage(result: VideoResult) -> str:
    packets, frames = result.damaged_packets, result.mended_frames
    parts = [f"{packets} damaged packet{_s(packets)} skipped"] if packets else []
    parts += [f"{frames} damaged frame{_s(frames)} mended by the decoder"] if frames else []
    return ", ".join(parts) or "none met"


def _data(result: VideoResult) -> dict[str, Any]:
    """Exact numbers with which the script draws the curve and applies the event rule.

    The script smooths the scores itself. So a run of equal frame scores is one number here, and
    ten hours stay small.
    """
    base = result.track.timebase
    times, frame_scores = base.frame_times, result.track.to_frames()
    parts = _parts(base)
    changes = np.append(True, np.diff(frame_scores) != 0)
    changes[[first for first, _, _ in parts]] = True
    starts = np.flatnonzero(changes)
    first_s = float(times[0])
    data = {
        "start": min(0.0, first_s),
        "first": first_s,
        "end": base.end_s,
        "frame": 1 / base.fps,
        "fps": base.fps,
        "parts": parts,
        "hours": _hours(base),
        "rule": asdict(result.rule),
        "starts": _base64(starts.astype("<i4")),
        "scores": _base64(frame_scores[starts].astype("<f8")),
        "peaks": [event.peak_s for event in result.events],
        "truth": None if result.truth is None else [list(span) for span in result.truth],
    }
    if not np.array_equal(times, first_s + np.arange(base.n_frames) / base.fps):
        needed = times if result.rule.smooth_s else times[starts]
        data["times"] = _base64(needed.astype("<f8"))
    return data


def _parts(base: Timebase) -> list[tuple[int, int, float]]:
    """Parts of the timeline without a gap: first frame, frame after the last, end in seconds."""
    ends = base.frame_ends
    return [(int(first), int(end), float(ends[end - 1])) for first, end in base.segments]


def _base64(values: NDArray[Any]) -> str:
    return b64encode(values.tobytes()).decode()
