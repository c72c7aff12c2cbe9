"""What ``oddframe score`` says: a line a video, a summary, the answer as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oddframe.cli.console import printable
from oddframe.cli.jobs import Outcome
from oddframe.features.extraction.extract import gap_note
from oddframe.outputs.scores.json_file import to_dict
from oddframe.outputs.text import clock, in_words, length
from oddframe.timeline import Event

_EVENTS_IN_A_LINE = 5


def line(outcome: Outcome) -> str:
    """What a person reads about one video."""
    result = outcome.result
    if result is None:
        return printable(f"FAILED {outcome.error}")
    notes: list[str] = []
    if result.damaged_packets:
        notes.append(skipped(result.damaged_packets, outcome.job.path))
    if result.mended_frames:
        notes.append(mended(result.mended_frames))
    notes += outcome.notes
    time = result.track.timebase
    if time.gaps and gap_note(time) not in notes:  # Features and kept scores come without notes.
        notes.append(gap_note(time))
    if outcome.kept:
        notes.append("scored before")
    if outcome.camera:
        notes.append(f"threshold {result.rule.threshold:.3g}, of camera {outcome.camera}")
    ending = printable(f"  [{'; '.join(notes)}]") if notes else ""
    name = printable(result.video)
    duration = length(result.track.timebase.duration_s)
    if not result.events:
        highest = f"{result.highest_score:.2f}"
        return f"{name} ({duration}): no events (highest score {highest}){ending}"
    shown = [
        f"{clock(e.start_s, 1)}-{clock(e.end_s, 1)} ({_told(e)})"
        for e in result.events[:_EVENTS_IN_A_LINE]
    ]
    if (more := len(result.events) - len(shown)) > 0:
        shown.append(f"and {more} more")
    count = f"{len(result.events)} event{'s' if len(result.events) > 1 else ''}"
    return f"{name} ({duration}): {count}: {', '.join(shown)}{ending}"


def skipped(damaged: int, path: Path) -> str:
    """What was skipped of a video, or of a folder of frames."""
    what = "picture" if path.is_dir() else "packet"
    return f"{damaged} damaged {what}{'s' if damaged > 1 else ''} skipped"


def mended(frames: int) -> str:
    """What was damaged of a video and used all the same."""
    return f"{frames} damaged frame{'s' if frames > 1 else ''} mended by the decoder"


def _told(event: Event) -> str:
    place = "" if event.where is None else in_words(event.where)
    return f"{event.score:.2f}, {place}" if place else f"{event.score:.2f}"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The last line of a batch."""
    results = [o.result for o in outcomes if o.result is not None]
    scored = sum(
        o.result.track.timebase.covered_s for o in outcomes if o.result is not None and not o.kept
    )
    eventful = sum(1 for result in results if result.events)
    text = f"{len(results)} of {len(outcomes)} scored, {eventful} with events"
    if scored > 0 and seconds > 0:
        text += (
            f"; {length(scored)} of video in {length(seconds)}, {scored / seconds:.1f}x real time"
        )
    if failed := [o for o in outcomes if o.error]:
        text += f"; {len(failed)} failed, see above"
    return text


def answer(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "schema": 1,
        "videos": [to_dict(o.result) for o in outcomes if o.result is not None],
        "failed": [{"video": str(o.job.path), "reason": o.error} for o in outcomes if o.error],
    }
