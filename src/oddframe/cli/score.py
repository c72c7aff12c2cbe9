"""``oddframe score``: when something odd happens in these videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    ProfileName,
    ProfileOption,
    QuietOption,
    ThresholdOption,
    ViewsOption,
    complete_formats,
    split_list,
)
from oddframe.outputs.formats import SCORE_FILE, format_names

EXAMPLE = "Example: oddframe score cam3.mp4 recordings/ --out results --format json,html"
DEFAULT_RESULTS_FOLDER = Path("oddframe-results")
VIEWS = ("1", "5", "10")


def score(
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
    profile: ProfileOption = ProfileName.best,
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
    """Say when something odd happens in each video.

    A score for every frame, events with start, end and peak. With --out the same command goes on
    where it was stopped: what is there already is not scored again.
    """
    from oddframe._utils.files import invalid_path_reason
    from oddframe.cli.batch import score_batch
    from oddframe.errors import InputError, UsageError
    from oddframe.events import RuleChanges
    from oddframe.scoring import ScoringSettings
    from oddframe.video.mask import read_masks

    if not paths and not features:
        raise UsageError("nothing to score: name a video or a folder, or --features FILE")
    if views is not None and str(views) not in VIEWS:
        raise UsageError(f"--views {views}: choose 1, 5 or 10")
    if features and (mask or (views and not paths) or (formats and "mp4" in formats)):
        raise UsageError("--features has no pictures: --mask, --views and mp4 need the video")
    for path in features or []:
        if wrong := invalid_path_reason(str(path)):
            raise InputError(f"{path!s:.60}: the path {wrong}")
    settings = ScoringSettings(
        model=model,
        profile=profile.value,
        views=views,
        device=device.value,
        engine=engine.value,
        precision=precision.value,
        threshold=threshold,
        events=RuleChanges(release, smooth, min_length, gap),
        masks=read_masks(mask),
        fps=fps,
        out=out or (DEFAULT_RESULTS_FOLDER if formats else None),
        formats=_formats(formats),
        fresh=fresh,
        debug=debug,
    )
    raise typer.Exit(
        score_batch(paths or [], features or [], settings, jobs, as_json=as_json, quiet=quiet)
    )


def _formats(text: str | None) -> tuple[str, ...]:
    from oddframe.errors import UsageError

    wanted = [name.lower() for name in split_list(text or "")]
    for name in wanted:
        if name not in format_names():
            raise UsageError(f"--format {name}: choose from {','.join(format_names())}")
    return tuple(name for name in format_names() if name == SCORE_FILE or name in wanted)
