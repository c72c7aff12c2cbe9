"""``oddframe score``: find abnormal events in videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oddframe.cli.console import item_bar, print_answer, print_note, printable, progress_bar
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    EventOptions,
    FreshOption,
    JobsOption,
    JsonOption,
    MaskOption,
    MemoryOption,
    ModelOption,
    PatienceOption,
    Precision,
    PrecisionOption,
    ProfileChoice,
    ProfileOption,
    QuietOption,
    ThresholdOption,
    ViewsOption,
    complete_formats,
    split_list,
)
from oddframe.errors import UsageError
from oddframe.outputs.registry import format_names

SCORE_EXAMPLE = "Example: oddframe score cam3.mp4 recordings/ --out results --format json,html"
DEFAULT_RESULTS_FOLDER = Path("oddframe-results")


def score_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...",
            help="Videos, folders, globs, or folders of frames.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = "fight",
    out: Annotated[
        Path | None,
        typer.Option(
            help=f"Write one NAME.json a video here, and what --format names "
            f"[{DEFAULT_RESULTS_FOLDER} if only --format is given].",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help=f"Any of {','.join(format_names())}.",
            show_default=False,
            autocompletion=complete_formats,
        ),
    ] = None,
    threshold: ThresholdOption = None,
    release: EventOptions.Release = None,
    smooth: EventOptions.Smooth = None,
    min_length: EventOptions.MinLength = None,
    gap: EventOptions.Gap = None,
    mask: MaskOption = None,
    features: Annotated[
        list[Path] | None,
        typer.Option(help="An existing feature file instead of a video.", show_default=False),
    ] = None,
    profile: ProfileOption = ProfileChoice.best,
    views: ViewsOption = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.01, max=1e6, help="Frame rate of folders of frames [25].", show_default=False
        ),
    ] = None,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    fresh: FreshOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Find abnormal events in videos.

    Computes a score for every frame, and events with start, end and peak. With --out the same
    command resumes where it was stopped: finished videos are not scored again.
    """
    import json

    from oddframe.cli.messages import format_batch_summary, format_outcome, outcomes_to_dict
    from oddframe.events import RuleChanges
    from oddframe.scoring import ScoringOutcome, score

    if not paths and not features:
        raise UsageError("nothing to score: name a video or a folder, or --features FILE")
    if views not in (None, 1, 5, 10):
        raise UsageError(f"--views {views}: choose 1, 5 or 10")
    if features and (mask or (views and not paths) or (formats and "mp4" in formats)):
        raise UsageError("--features has no pictures: --mask, --views and mp4 need the video")

    def show_outcome(outcome: ScoringOutcome) -> None:
        if outcome.error:
            print_note(format_outcome(outcome))
        elif not as_json:
            print_answer(format_outcome(outcome))

    def show_message(line: str) -> None:
        print_note(printable(line), quiet=quiet)

    with progress_bar(quiet=quiet) as bar:
        summary = score(
            paths or [],
            features=features or [],
            model=model,
            out=out or (DEFAULT_RESULTS_FOLDER if formats else None),
            formats=_formats(formats),
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
            raise_errors=debug,
            progress=item_bar(bar),
            on_outcome=show_outcome,
            message=show_message,
        )
    if summary.index_error is not None:
        print_note(printable(str(summary.index_error)))
    if as_json:
        print_answer(json.dumps(outcomes_to_dict(summary.outcomes), indent=2))
    if len(summary.outcomes) > 1 or summary.failed:
        print_note(format_batch_summary(summary), quiet=quiet)
    if summary.index is not None:
        show_message(f"all videos and events: {summary.index}")
    raise typer.Exit(summary.exit_code)


def _formats(text: str | None) -> list[str]:
    names = [name.lower() for name in split_list(text or "")]
    for name in names:
        if name not in format_names():
            raise UsageError(f"--format {name}: choose from {','.join(format_names())}")
    return names
