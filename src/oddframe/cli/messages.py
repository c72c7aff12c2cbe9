"""What ``oddframe score`` says: a line a video, a summary, the answer as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oddframe.cli.console import printable
from oddframe.features.extraction.extract_video import gap_note
from oddframe.outputs.scores.json_file import result_to_dict
from oddframe.outputs.text import describe_box, format_clock, format_duration
from oddframe.scoring import ScoringOutcome
from oddframe.timeline import Event

_EVENTS_IN_A_LINE = 5


def format_outcome(outcome: ScoringOutcome) -> str:
    """What a person reads about one video."""
    result = outcome.result
    if result is None:
        return printable(f"FAILED {outcome.error}")
    notes: list[str] = []
    if result.damaged_packets:
        notes.append(damaged_packets_note(result.damaged_packets, outcome.job.path))
    if result.mended_frames:
        notes.append(mended_frames_note(result.mended_frames))
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
    duration = format_duration(result.track.timebase.duration_s)
    if not result.events:
        highest = f"{result.highest_score:.2f}"
        return f"{name} ({duration}): no events (highest score {highest}){ending}"
    shown = [
        f"{format_clock(e.start_s, 1)}-{format_clock(e.end_s, 1)} ({_format_event(e)})"
        for e in result.events[:_EVENTS_IN_A_LINE]
    ]
    if (more := len(result.events) - len(shown)) > 0:
        shown.append(f"and {more} more")
    count = f"{len(result.events)} event{'s' if len(result.events) > 1 else ''}"
    return f"{name} ({duration}): {count}: {', '.join(shown)}{ending}"


def damaged_packets_note(damaged: int, path: Path) -> str:
    """What was skipped of a video, or of a folder of frames."""
    what = "picture" if path.is_dir() else "packet"
    return f"{damaged} damaged {what}{'s' if damaged > 1 else ''} skipped"


def mended_frames_note(frames: int) -> str:
    """What was damaged of a video and used all the same."""
    return f"{frames} damaged frame{'s' if frames > 1 else ''} mended by the decoder"


def _format_event(event: Event) -> str:
    place = "" if event.where is None else describe_box(event.where)
    return f"{event.score:.2f}, {place}" if place else f"{event.score:.2f}"


def format_batch_summary(outcomes: Sequence[ScoringOutcome], seconds: float) -> str:
    """The last line of a batch."""
    results = [o.result for o in outcomes if o.result is not None]
    scored = sum(
        o.result.track.timebase.covered_s for o in outcomes if o.result is not None and not o.kept
    )
    eventful = sum(1 for result in results if result.events)
    text = f"{len(results)} of {len(outcomes)} scored, {eventful} with events"
    if scored > 0 and seconds > 0:
        text += f"; {format_duration(scored)} of video in {format_duration(seconds)}, {scored / seconds:.1f}x real time"  # noqa: E501
    if failed := [o for o in outcomes if o.error]:
        text += f"; {len(failed)} failed, see above"
    return text


def outcomes_to_dict(outcomes: Sequence[ScoringOutcome]) -> dict[str, Any]:
    return {
        "schema": 1,
        "videos": [result_to_dict(o.result) for o in outcomes if o.result is not None],
        "failed": [{"video": str(o.job.path), "reason": o.error} for o in outcomes if o.error],
    }
