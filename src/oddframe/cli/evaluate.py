"""``oddframe evaluate``: measure a model on labelled videos; see ``oddframe.evaluate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import message_printer, print_answer, print_json, printable, progress_bar
from oddframe.errors import InputError, UsageError

if TYPE_CHECKING:
    from oddframe.evaluation.evaluate import Evaluation


class FrameProtocolName(StrEnum):
    frames, official = "frames", "official"


def evaluate_command(
    model: opt.ModelArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder, a CSV, or NAME:DIR; see docs/data.md.")
    ],
    protocol: Annotated[
        FrameProtocolName,
        typer.Option(
            help="frames: every frame; official: repeat snippet scores as published code does."
        ),
    ] = FrameProtocolName.frames,
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    threshold: opt.ThresholdOption = None,
    release: opt.ReleaseOption = None,
    smooth: opt.SmoothOption = None,
    min_length: opt.MinLengthOption = None,
    gap: opt.GapOption = None,
    mask: opt.MaskOption = None,
    out: Annotated[
        Path | None,
        opt.optional(help="Write evaluation.html, evaluation.md and evaluation.json here."),
    ] = None,
    features: opt.FeaturesOption = "",
    sound: opt.SoundOption = None,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    as_json: opt.JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all tables as Markdown.")
    ] = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Measure a model on labelled videos: frames, videos, events, delays, false alarms an hour.

    Figures of frames need the times at which something happens, from a published data set or your
    own; with labels of whole videos there are only figures of videos. If the data set
    has its own split, its test part is used.
    """
    from oddframe import api
    from oddframe.events import RuleChanges
    from oddframe.outputs.pages.evaluation_text import evaluation_to_dict, evaluation_to_markdown

    if as_json and markdown:
        raise UsageError("--json and --markdown: choose one; --out writes both")
    with progress_bar(quiet=quiet) as progress:
        evaluation = api.evaluate(
            model,
            data,
            protocol=protocol.value,
            profile=profile.value,
            threshold=threshold,
            rule=RuleChanges(release, smooth, min_length, gap),
            out=out,
            features=features or None,
            audio_features=sound,
            mask=mask,
            store=store,
            device=device.value,
            engine=engine.value,
            precision=precision.value,
            jobs=jobs,
            progress=progress,
            message=message_printer(quiet=quiet, always="left out: "),
        )
    if as_json:
        print_json(evaluation_to_dict(evaluation))
    elif markdown:
        print_answer(evaluation_to_markdown(evaluation))
    else:
        _print_evaluation(evaluation, out)
    if evaluation.failed:
        raise typer.Exit(InputError.exit_code)


def _print_evaluation(evaluation: Evaluation, out: Path | None) -> None:
    from oddframe.outputs.pages.evaluation_text import (
        describe_alarm_rate,
        key_figures,
        summary_sentence,
    )

    print_answer(f"{printable(evaluation.title)}: {summary_sentence(evaluation)}")
    for name, value, basis in key_figures(evaluation):
        print_answer(f"  {name:<22} {value:>10}  {basis}".rstrip())
    print_answer(describe_alarm_rate(evaluation.overall.false_alarms))
    if out is not None:
        print_answer(f"Look at it: {printable(str(out / 'evaluation.html'))}")
