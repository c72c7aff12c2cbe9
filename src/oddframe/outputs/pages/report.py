"""The report: one page with the video, its score curve and its events, in one HTML file."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from oddframe._utils.files import atomic_write, write_text
from oddframe.detector import VideoResult
from oddframe.events import match_events
from oddframe.methods.actions import LOOK_FOR
from oddframe.outputs.drawing import (
    KEY_FRAME_SIDE,
    KeyFrameCollector,
    RgbImage,
    draw_boxes,
    draw_heat,
    embedded_jpeg,
    even_size,
    event_peak_times,
    letterbox,
)
from oddframe.outputs.encode import (
    MAX_EMBEDDED_S,
    PreviewEncoder,
    plays_in_browsers,
    preview_encoder,
)
from oddframe.outputs.pages.templates import Fact, render_template
from oddframe.outputs.registry import FrameConsumer, FrameConsumers, VideoTarget
from oddframe.outputs.text import (
    damage_notes,
    describe_box,
    describe_clip,
    format_clock,
    format_duration,
)
from oddframe.timeline import Event, Timebase

_THUMBNAIL_SIDE, _THUMBNAIL_QUALITY = 256, 78
_BOX_COLOUR = (255, 255, 255)
# So many events have a picture on the page, those with the highest scores: pages stay small.
_MAX_PICTURES = 200


class Media(NamedTuple):
    """Where the page takes the video from; what it says about that."""

    url: str  # A data URI, or a path relative to the page.
    note: str = ""

    @classmethod
    def linked(cls, path: str) -> Media:
        """A file beside the page; ``path`` is relative to it, with forward slashes."""
        note = f"The video is too long to be part of this page: it is played from {path}."
        return cls(quote(os.fsencode(path)), note)


@contextmanager
def report_writer(result: VideoResult, target: VideoTarget) -> Iterator[FrameConsumer]:
    """Take the frames of a video, then write its page; a writer of ``outputs.registry``.

    A short video is embedded in the page; of a long one the page links the file itself, or a copy
    that browsers play.
    """
    order = sorted(range(len(result.events)), key=lambda i: -result.events[i].score)
    peaks = event_peak_times(result)
    times = {number: peaks[number] for number in sorted(order[:_MAX_PICTURES])}
    collector = KeyFrameCollector(times.values(), KEY_FRAME_SIDE)
    consumers: list[FrameConsumer] = [collector]
    base, source = result.track.timebase, target.source
    embedded = base.duration_s <= MAX_EMBEDDED_S
    memory, media = BytesIO(), None
    with ExitStack() as stack:
        if not target.readable:
            embedded = False
        elif not (embedded or target.masked) and source and plays_in_browsers(source):
            media = Media.linked(_relative(source, target.path.parent))
        else:
            encoder = preview_encoder(base.duration_s, embedded)
            copy: Path | BytesIO = memory
            if not embedded:
                file = target.side_path(f"preview.{encoder.container}")
                copy, media = stack.enter_context(atomic_write(file)), Media.linked(file.name)
                target.side_files.append(file)
            preview = PreviewEncoder(copy, encoder, base.fps, embedded)
            consumers.append(stack.enter_context(preview))
        yield FrameConsumers(consumers)
    if embedded:
        data = b64encode(memory.getvalue()).decode()
        media = Media(f"data:video/{encoder.container};base64,{data}")
    collector.close()
    images = collector.images
    pictures = {number: images[time] for number, time in times.items() if time in images}
    write_html(result, target.path, media, pictures)


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

    Without ``media`` it says that the video could not be read. ``pictures``: key frames (h, w, 3)
    RGB by number of the event, from 0.
    """
    name = Path(result.video).name or result.video
    base, rule, truth = result.track.timebase, result.rule, result.truth
    highest = result.highest_score
    no_events = f"None: the highest score is {highest:.2f}, the threshold {rule.threshold:.2f}."
    if highest >= rule.threshold:
        no_events = f"None: what reaches the threshold is shorter than {rule.min_duration_s:g} s."
    text = render_template(
        "report",
        style=("report",),
        script=("table", "report"),
        sources="img-src data:; media-src data: 'self' file:",
        over="oddframe report",
        title=f"{name}: oddframe report",
        name=name,
        summary=_summary(result),
        about_model=_about_model(result),
        media=media,
        rule=rule,
        start_s=min(0.0, base.frame_times[0]),
        end_s=base.end_s,
        # Tenths of a second or finer; with hours where the video has some.
        clock=partial(format_clock, decimals=2 if base.duration_s < 1 else 1, hours=_hours(base)),
        legend=_legend(result),
        pictures={
            number: _thumbnail(picture, result.events[number])
            for number, picture in (pictures or {}).items()
        },
        places=[_place(event) for event in result.events],
        heated=any(event.boxes for event in result.events),
        events=result.events,
        looks_like=_looks_like(result.events),
        real=[match_events([event], truth or ()).found > 0 for event in result.events],
        no_events=no_events,
        truth=truth,
        found=[match_events(result.events, [span]).found > 0 for span in truth or ()],
        facts=_facts(result),
        data={**_data(result), "none": no_events},
    )
    write_text(path, text)


def _about_model(result: VideoResult) -> str:
    model = result.model
    if model.method == LOOK_FOR:
        return (
            f"The score is the probability that I3D gives to: {model.detects}. It was trained on "
            "films of Kinetics-400, not on these cameras, so take it as a hint."
        )
    text = f"The model “{model.name}” was trained to find {model.detects}. "
    text += "It does not look for anything else."
    if any(event.similar for event in result.events):
        text += " “Looks like” names the nearest clips that it was trained on, a hint and no proof."
    return text


def _summary(result: VideoResult) -> str:
    count = len(result.events)
    text = f"{count} event{_s(count)} in" if count else "No events found in"
    text += f" {format_duration(result.track.timebase.duration_s)}."
    text += f" Highest score {result.highest_score:.2f}, threshold {result.rule.threshold:.2f}."
    if result.truth is not None:
        match = match_events(result.events, result.truth)
        true = match.found + match.missed
        if true:
            text += f" {match.found} of {true} true event{_s(true)} found"
            text += f", {match.false or 'no'} false alarm{_s(match.false)}."
    return text


def _s(count: int) -> str:
    return "" if count == 1 else "s"


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


def _hours(base: Timebase) -> bool:
    return bool(base.end_s >= 3600)  # Not NumPy's bool, which is not JSON.


def _thumbnail(picture: RgbImage, event: Event) -> dict[str, Any]:
    width, height = even_size(picture.shape[1], picture.shape[0], _THUMBNAIL_SIDE)
    small = letterbox(picture, width, height).copy()
    if event.heatmap is not None:
        draw_heat(small, np.array(event.heatmap))
        draw_boxes(small, event.boxes, _BOX_COLOUR, 2)
    return embedded_jpeg(small, _THUMBNAIL_QUALITY)


def _place(event: Event) -> str:
    """Where in the picture an event is, in words: ``middle left``; empty: not known."""
    box = event.boxes[0] if event.boxes else event.where
    return "" if box is None else describe_box(box)


class LooksLike(NamedTuple):
    """A training clip or an action that an event looks like, in the table of events."""

    text: str
    picture: str = ""  # A data URI.
    title: str = ""


def _looks_like(events: Sequence[Event]) -> list[list[LooksLike]]:
    """What each event looks like; empty where no event has anything."""
    highest = sorted(range(len(events)), key=lambda i: -events[i].score)[:_MAX_PICTURES]
    found = []
    for number, event in enumerate(events):
        shown = [
            LooksLike(
                describe_clip(clip),
                _jpeg_url(clip.picture) if clip.picture and number in highest else "",
                f"{clip.video}, similarity {clip.similarity:.2f}",
            )
            for clip in event.similar
        ]
        shown += [LooksLike(f"perhaps {a.name} ({a.probability:.2f})") for a in event.actions]
        found.append(shown)
    return found if any(found) else []


def _jpeg_url(data: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(data).decode()}"


def _facts(result: VideoResult) -> list[Fact]:
    base, model, rule = result.track.timebase, result.model, result.rule
    frames = f"{base.n_frames:,} frame{_s(base.n_frames)}"
    rate = "on average (variable)" if base.pts is not None else "a second"
    scores = f"{len(result.track.scores):,}, one for {base.snippet_frames} frames"
    if base.rate is not None:
        scores += f" at {base.rate:g} a second"
    event = f"reaches {rule.threshold:.3g}, ends below {rule.release:.3g}"
    if rule.min_duration_s:
        event += f", lasts at least {rule.min_duration_s:g} s"
    if rule.merge_gap_s:
        event += f"; gaps under {rule.merge_gap_s:g} s are closed"
    damage = damage_notes(result.damaged_packets, result.mended_frames)
    return [
        Fact("Video", f"{frames}, {base.fps:.5g} {rate}, {format_duration(base.duration_s)}"),
        Fact("Damage", ", ".join(damage) or "none met"),
        Fact("Model", f"{model.name} (oddframe {model.version})"),
        Fact("Trained to find", model.detects),
        Fact("Method", model.method),
        Fact("Backbone", model.backbone),
        Fact("Profile and engine", f"{model.profile}, {model.engine}"),
        Fact("Scores", scores),
        Fact("An event", event, "wide"),
        Fact("SHA-256 of the model file", model.sha256, "code"),
    ]


def _data(result: VideoResult) -> dict[str, Any]:
    """Exact numbers with which the script draws the curve and applies the event rule.

    The script smooths the scores itself: a run of equal frame scores is one number here.
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
