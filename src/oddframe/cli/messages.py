"""Lines that ``oddframe score`` prints about its inputs, and its answer as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oddframe.cli.console import printable
from oddframe.features.extraction.extract_video import gap_note
from oddframe.outputs.scores.json_file import result_to_dict
from oddframe.outputs.text import describe_box, format_clock, format_duration
from oddframe.scoring import ScoringOutcome, ScoringSummary
from oddframe.timeline import Event

_MAX_EVENTS = 5


def format_outcome(outcome: ScoringOutcome) -> str:
    """The line about one input: its events, or why it failed."""
    result = outcome.result
    if result is None:
        return printable(f"FAILED {outcome.error}")
    notes: list[str] = []
    if result.damaged_packets:
        notes.append(damaged_packets_note(result.damaged_packets, outcome.job.path))
    if result.mended_frames:
        notes.append(mended_frames_note(result.mended_frames))
    notes += outcome.notes
    base = result.track.timebase
    # Feature files and earlier results come without the notes of the extraction.
    if base.gaps and gap_note(base) not in notes:
        notes.append(gap_note(base))
    if outcome.already_scored:
        notes.append("scored before")
    if outcome.camera:
        notes.append(f"threshold {result.rule.threshold:.3g}, of camera {outcome.camera}")
    ending = printable(f"  [{'; '.join(notes)}]") if notes else ""
    name = printable(result.video)
    duration = format_duration(base.duration_s)
    if not result.events:
        highest = f"{result.highest_score:.2f}"
        return f"{name} ({duration}): no events (highest score {highest}){ending}"
    shown = [
        f"{format_clock(e.start_s, 1)}-{format_clock(e.end_s, 1)} ({_format_event(e)})"
        for e in result.events[:_MAX_EVENTS]
    ]
    if (more := len(result.events) - len(shown)) > 0:
        shown.append(f"and {more} more")
    count = f"{len(result.events)} event{'s' if len(result.events) > 1 else ''}"
    return f"{name} ({duration}): {count}: {', '.join(shown)}{ending}"


def damaged_packets_note(damaged: int, path: Path) -> str:
    """How many packets of a video, or pictures of a folder of frames, were skipped."""
    what = "picture" if path.is_dir() else "packet"
    return f"{damaged} damaged {what}{'s' if damaged > 1 else ''} skipped"


def mended_frames_note(frames: int) -> str:
    """How many damaged frames were used as the decoder mended them."""
    return f"{frames} damaged frame{'s' if frames > 1 else ''} mended by the decoder"


def _format_event(event: Event) -> str:
    place = "" if event.where is None else describe_box(event.where)
    return f"{event.score:.2f}, {place}" if place else f"{event.score:.2f}"


def format_batch_summary(summary: ScoringSummary) -> str:
    """The last line about several inputs."""
    results = summary.results
    scored_s = sum(
        each.result.track.timebase.covered_s
        for each in summary.outcomes
        if each.result is not None and not each.already_scored
    )
    eventful = sum(1 for result in results if result.events)
    text = f"{len(results)} of {len(summary.outcomes)} scored, {eventful} with events"
    if scored_s > 0 and summary.seconds > 0:
        text += (
            f"; {format_duration(scored_s)} of video in {format_duration(summary.seconds)}, "
            f"{scored_s / summary.seconds:.1f}x real time"
        )
    if summary.failed:
        text += f"; {len(summary.failed)} failed, see above"
    return text


def outcomes_to_dict(outcomes: Sequence[ScoringOutcome]) -> dict[str, Any]:
    """The answer of ``oddframe score --json``, schema 1."""
    return {
        "schema": 1,
        "videos": [result_to_dict(each.result) for each in outcomes if each.result is not None],
        "failed": [
            {"video": str(each.job.path), "reason": each.error} for each in outcomes if each.error
        ],
    }
