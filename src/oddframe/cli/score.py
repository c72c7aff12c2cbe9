"""``oddframe score``: find abnormal events in videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import (
    message_printer,
    print_answer,
    print_json,
    print_note,
    printable,
    progress_bar,
)
from oddframe.errors import UsageError
from oddframe.outputs.registry import format_names
from oddframe.outputs.text import (
    damage_notes,
    describe_box,
    describe_reason,
    format_clock,
    format_duration,
)

if TYPE_CHECKING:
    from oddframe.scoring import ScoringSummary
    from oddframe.scoring_job import ScoringOutcome

DEFAULT_RESULTS_FOLDER = Path("oddframe-results")
_MAX_EVENTS = 5


def score_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders, globs, or folders of frames.",
            show_default=False,
        ),
    ] = None,
    model: opt.ModelOption = "fight",
    out: Annotated[
        Path | None,
        opt.optional(
            help=f"Write one NAME.json a video here, and what --format names "
            f"[{DEFAULT_RESULTS_FOLDER} if only --format is given]."
        ),
    ] = None,
    formats: Annotated[
        str | None,
        opt.optional(
            "--format",
            "-f",
            help=f"Any of {','.join(format_names())}.",
            autocompletion=opt.complete_formats,
        ),
    ] = None,
    look_for: Annotated[
        str,
        opt.optional(
            metavar="ACTIONS",
            help="Look for these human actions, as wrestling,headbutting, by I3D's own classifier "
            "of 400 actions, instead of with a model.",
            autocompletion=opt.complete_actions,
        ),
    ] = "",
    threshold: opt.ThresholdOption = None,
    release: opt.ReleaseOption = None,
    smooth: opt.SmoothOption = None,
    min_length: opt.MinLengthOption = None,
    gap: opt.GapOption = None,
    mask: opt.MaskOption = None,
    features: Annotated[
        list[Path] | None, opt.optional(help="An existing feature file instead of a video.")
    ] = None,
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    views: opt.ViewsOption = None,
    fps: Annotated[
        float | None, opt.optional(min=0.01, max=1e6, help="Frame rate of folders of frames [25].")
    ] = None,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    fresh: opt.FreshOption = False,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Find abnormal events in videos.

    Computes a score for every frame, and events with start, end and peak. With --out the same
    command resumes where it was stopped: finished videos are not scored again.
    """
    from oddframe.events import RuleChanges
    from oddframe.scoring import score

    if not paths and not features:
        raise UsageError("nothing to score: name a video or a folder, or --features FILE")
    if views not in (None, 1, 5, 10):
        raise UsageError(f"--views {views}: choose 1, 5 or 10")
    if look_for and (model != "fight" or views):
        raise UsageError("--look-for is instead of a model, and looks at one view: no --model")
    if features and (mask or (views and not paths) or (formats and "mp4" in formats)):
        raise UsageError("--features has no pictures: --mask, --views and mp4 need the video")

    names = [name.lower() for name in opt.split_list(formats or "")]
    for name in names:
        if name not in format_names():
            raise UsageError(f"--format {name}: choose from {','.join(format_names())}")

    def show_outcome(outcome: ScoringOutcome) -> None:
        if outcome.error:
            print_note(_format_outcome(outcome))
        elif not as_json:
            print_answer(_format_outcome(outcome))

    message = message_printer(quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        summary = score(
            paths or [],
            features=features or [],
            model=model,
            out=out or (DEFAULT_RESULTS_FOLDER if formats else None),
            formats=names,
            threshold=threshold,
            rule=RuleChanges(release, smooth, min_length, gap),
            mask=mask,
            profile=profile.value,
            views=views,  # type: ignore[arg-type]
            fps=fps,
            device=device.value,
            engine=engine.value,
            precision=precision.value,
            jobs=jobs,
            fresh=fresh,
            look_for=opt.split_list(look_for),
            raise_errors=debug,
            progress=progress,
            on_outcome=show_outcome,
            message=message,
        )
    if summary.index_error is not None:
        print_note(printable(str(summary.index_error)))
    if as_json:
        print_json(outcomes_to_dict(summary.outcomes))
    if len(summary.outcomes) > 1 or summary.failed:
        print_note(_format_batch_summary(summary), quiet=quiet)
    if summary.index is not None:
        message(f"all videos and events: {summary.index}")
    raise typer.Exit(summary.exit_code)


def _format_outcome(outcome: ScoringOutcome) -> str:
    """The line about one input: its events, or why it failed."""
    from oddframe.features.extraction.extract_video import gap_note

    result = outcome.result
    if result is None:
        return printable(f"FAILED {outcome.error}")
    notes = damage_notes(result.damaged_packets, result.mended_frames, outcome.job.path)
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
        highest = f"(highest score {result.highest_score:.2f})"
        return f"{name} ({duration}): no events {highest}{ending}"
    shown = []
    for event in result.events[:_MAX_EVENTS]:
        place = "" if event.where is None else describe_box(event.where)
        reason = printable(describe_reason(event))
        about = ", ".join(filter(None, (f"{event.score:.2f}", place, reason)))
        span = f"{format_clock(event.start_s, 1)}-{format_clock(event.end_s, 1)}"
        shown.append(f"{span} ({about})")
    if (more := len(result.events) - len(shown)) > 0:
        shown.append(f"and {more} more")
    count = f"{len(result.events)} event{'s' if len(result.events) > 1 else ''}"
    return f"{name} ({duration}): {count}: {', '.join(shown)}{ending}"


def _format_batch_summary(summary: ScoringSummary) -> str:
    """The last line about several inputs."""
    results = summary.results
    scored_s = sum(
        each.result.track.timebase.covered_s
        for each in summary.outcomes
        if each.result is not None and not each.already_scored
    )
    eventful = sum(bool(result.events) for result in results)
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
    from oddframe.outputs.score_files import result_to_dict

    return {
        "schema": 1,
        "videos": [result_to_dict(each.result) for each in outcomes if each.result is not None],
        "failed": [
            {"video": str(each.job.path), "reason": each.error} for each in outcomes if each.error
        ],
    }
