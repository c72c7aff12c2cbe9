"""The report: one page with the video, its score curve, its events. It needs nothing around it."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import quote

import numpy as np

from oddframe.detector import VideoResult
from oddframe.events import match_events
from oddframe.files import write_text
from oddframe.outputs.clock import clock, length
from oddframe.outputs.picture import Picture, even_size, fit, jpeg
from oddframe.outputs.series import Steps, steps
from oddframe.timeline import Event

# A pixel of a wide screen; a curve with more steps only makes the page heavy.
_MOST_STEPS = 1200
_THUMBNAIL = 256


@dataclass(frozen=True)
class Media:
    """Where the page takes the video from.

    Attributes:
        url: A data URI, or a path relative to the page.
        note: What to say about it on the page, in plain text; may be empty.
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
        return cls(quote(path), note)


def write_html(
    result: VideoResult,
    path: Path,
    media: Media | None = None,
    pictures: Mapping[int, Picture] | None = None,
) -> None:
    """Write the page.

    Args:
        result: What to show.
        path: HTML file.
        media: The video; None: the page says that it was not at hand.
        pictures: Key frames (h, w, 3) RGB by number of the event, from 0.

    Raises:
        OddframeError: the file cannot be written.
    """
    write_text(path, _page(result, media, pictures or {}))


def _page(result: VideoResult, media: Media | None, pictures: Mapping[int, Picture]) -> str:
    assets = files("oddframe.outputs") / "assets"
    page, css, script = (
        (assets / f"report.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    # Nothing but this script runs, and nothing is loaded from anywhere else.
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"media-src data: 'self' file:; script-src 'sha256-{digest}'"
    )
    name = Path(result.video).name or result.video
    curve = steps(result, _MOST_STEPS)
    return Template(page).substitute(
        policy=policy,
        css=css,
        js=script,
        title=escape(f"{name}: oddframe report"),
        name=escape(name),
        mood="found" if result.events else "quiet",
        summary=escape(_summary(result)),
        knows=escape(
            f"The model “{result.model.name}” was trained to find {result.model.knows}. "
            "It does not look for anything else."
        ),
        media=_media(media, name),
        duration=f"{result.track.timebase.end_s:.3f}",
        legend=_legend(result, curve),
        events=_events(result, pictures),
        truth=_truth(result),
        facts=_facts(result),
        data=_data(result, curve),
    )


def _summary(result: VideoResult) -> str:
    time = length(result.track.timebase.duration_s)
    count = len(result.events)
    text = f"{count} event{_s(count)} in {time}." if count else f"No events found in {time}."
    if result.truth is not None:
        match = match_events(result.events, result.truth)
        real = match.found + match.missed
        if real:
            text += f" {match.found} of {real} true event{_s(real)} found"
            text += f", {match.false or 'no'} false alarm{_s(match.false)}."
    return text


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _media(media: Media | None, name: str) -> str:
    if media is None:
        return '<p class="note">The video was not at hand when this page was made.</p>'
    tag = (
        f'<video controls playsinline preload="auto" src="{escape(media.url)}" '
        f'aria-label="{escape(name)}"></video>'
    )
    return tag + (f'\n    <p class="note">{escape(media.note)}</p>' if media.note else "")


def _legend(result: VideoResult, curve: Steps) -> str:
    score = "score"
    if result.rule.smooth_s:
        score += f", mean over {result.rule.smooth_s:g} s"
    if not curve.whole:
        score += ", from lowest to highest"
    entries = [
        ("score", score),
        ("threshold", f"threshold {result.rule.threshold:.2f}"),
    ]
    if result.events:
        entries.append(("event", "event found"))
    if result.track.timebase.gaps:
        entries.append(("gap", "no picture, no score"))
    if result.truth is not None:
        entries.append(("truth", "what really happens"))
    return "".join(f'<li><i class="k-{key}"></i>{escape(text)}</li>' for key, text in entries)


def _clock(result: VideoResult, seconds: float) -> str:
    duration = result.track.timebase.duration_s
    return clock(seconds, 2 if duration < 1 else 1, hours=duration >= 3600)


def _events(result: VideoResult, pictures: Mapping[int, Picture]) -> str:
    if not result.events:
        return (
            f"<p>None: the highest score {result.highest_score:.2f} is below the threshold "
            f"{result.rule.threshold:.2f}, or what reaches it is too short.</p>"
        )
    headings = ["Event", "Start", "End", "Peak", "Score"]
    headings = [*([""] if pictures else []), *headings, *(["Truth"] if result.truth else [])]
    rows = []
    for number, event in enumerate(result.events):
        cells = _event_cells(result, number, event)
        if pictures:
            picture = _thumbnail(pictures[number], number) if number in pictures else ""
            cells.insert(0, f'<td class="picture">{picture}</td>')
        seek = f'data-seek="{event.start_s:.4f}" data-event="{number}"'
        rows.append(f"<tr {seek}>{''.join(cells)}</tr>")
    return (
        f'<table class="events"><thead>{_headings(headings)}</thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _headings(names: Sequence[str]) -> str:
    return "<tr>" + "".join(f'<th scope="col">{name}</th>' for name in names) + "</tr>"


def _event_cells(result: VideoResult, number: int, event: Event) -> list[str]:
    start = _clock(result, event.start_s)
    cells = [
        f'<td class="number">{number + 1}</td>',
        f'<td data-label="from"><button type="button" aria-label="Event {number + 1}: go to '
        f'{start}">{start}</button></td>',
        f'<td data-label="to">{_clock(result, event.end_s)}</td>',
        f'<td data-label="peak">{_clock(result, event.peak_s)}</td>',
        f'<td data-label="score">{event.score:.2f}</td>',
    ]
    if result.truth:
        real = match_events([event], result.truth).found > 0
        mark = '<span class="yes">real</span>' if real else '<span class="no">false alarm</span>'
        cells.append(f"<td>{mark}</td>")
    return cells


def _thumbnail(picture: Picture, number: int) -> str:
    size = even_size(picture.shape[1], picture.shape[0], _THUMBNAIL)
    data = b64encode(jpeg(fit(picture, *size), 78)).decode()
    return (
        f'<img src="data:image/jpeg;base64,{data}" width="{size[0]}" height="{size[1]}" '
        f'alt="Event {number + 1} at its peak">'
    )


def _truth(result: VideoResult) -> str:
    if result.truth is None:
        return ""
    rows = []
    for number, (start, end) in enumerate(result.truth):
        found = match_events(result.events, [(start, end)]).found > 0
        mark = '<span class="yes">found</span>' if found else '<span class="no">missed</span>'
        rows.append(
            f'<tr data-seek="{start:.4f}"><td>{number + 1}</td>'
            f'<td><button type="button" aria-label="True event {number + 1}: go to '
            f'{_clock(result, start)}">{_clock(result, start)}</button></td>'
            f"<td>{_clock(result, end)}</td><td>{mark}</td></tr>"
        )
    table = (
        f"<table><thead>{_headings(['', 'Start', 'End', ''])}</thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return (
        '<section class="card" aria-labelledby="h-truth">\n'
        '      <h2 id="h-truth">What really happens</h2>\n'
        f"      {table if rows else '<p>Nothing: this is a normal video.</p>'}\n    </section>"
    )


def _facts(result: VideoResult) -> str:
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
    entries = [
        ("Video", f"{frames}, {base.fps:.5g} {rate}, {length(base.duration_s)}"),
        ("Damage", _damage(result)),
        ("Model", f"{model.name} (oddframe {model.version})"),
        ("Trained to find", model.knows),
        ("Method", model.method),
        ("Backbone", model.backbone),
        ("Profile and engine", f"{model.profile}, {model.engine}"),
        ("Scores", scores),
    ]
    cells = [f"<div><dt>{key}</dt><dd>{escape(value)}</dd></div>" for key, value in entries]
    digest = f"<code>{escape(model.sha256)}</code>"
    for key, markup in (("An event", escape(event)), ("SHA-256 of the model file", digest)):
        cells.append(f'<div class="wide"><dt>{key}</dt><dd>{markup}</dd></div>')
    return f"<dl>{''.join(cells)}</dl>"


def _damage(result: VideoResult) -> str:
    packets, frames = result.damaged_packets, result.mended_frames
    told = [f"{packets} damaged packet{_s(packets)} skipped"] if packets else []
    told += [f"{frames} damaged frame{_s(frames)} mended by the decoder"] if frames else []
    return ", ".join(told) or "none met"


def _data(result: VideoResult, curve: Steps) -> str:
    """What the script needs, as JSON that cannot end its script element; times are a player's."""
    base = result.track.timebase
    data = {
        "duration": base.end_s,
        "frame": 1 / base.fps,
        "threshold": result.rule.threshold,
        "edges": np.round(curve.edges, 4).tolist(),
        "high": np.round(curve.high, 4).tolist(),
        "low": None if curve.whole else np.round(curve.low, 4).tolist(),
        "events": [[event.start_s, event.end_s] for event in result.events],
        "gaps": np.round(base.gap_times, 4).tolist(),
        "truth": None if result.truth is None else [list(span) for span in result.truth],
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
