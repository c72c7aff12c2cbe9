"""``oddframe evaluate``: measure a model on labelled videos; see ``oddframe.evaluate``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli.console import message_printer, print_answer, printable, progress_bar, stage_bars
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    STORE_DEFAULT,
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    EventOptions,
    FeaturesOption,
    JobsOption,
    JsonOption,
    MaskOption,
    MemoryOption,
    ModelArgument,
    PatienceOption,
    Precision,
    PrecisionOption,
    ProfileChoice,
    ProfileOption,
    QuietOption,
    SoundOption,
    StoreOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    from oddframe.evaluation.results import Evaluation

EVALUATE_EXAMPLE = "Example: oddframe evaluate my_model.safetensors held_out/ --out results"


class FrameProtocolName(StrEnum):
    frames = "frames"
    official = "official"


def evaluate_command(
    model: ModelArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder, a CSV, or NAME:DIR; see docs/data.md.")
    ],
    protocol: Annotated[
        FrameProtocolName,
        typer.Option(
            help="frames: every frame; official: repeat snippet scores as published code does."
        ),
    ] = FrameProtocolName.frames,
    profile: ProfileOption = ProfileChoice.best,
    threshold: ThresholdOption = None,
    release: EventOptions.Release = None,
    smooth: EventOptions.Smooth = None,
    min_length: EventOptions.MinLength = None,
    gap: EventOptions.Gap = None,
    mask: MaskOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write study.html, evaluation.md and evaluation.json here.", show_default=False
        ),
    ] = None,
    features: FeaturesOption = "",
    sound: SoundOption = None,
    store: StoreOption = STORE_DEFAULT,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    as_json: JsonOption = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print all tables as Markdown.")
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Measure a model on labelled videos: frames, videos, events, delays, false alarms an hour.

    Figures of frames need the times at which something happens, from a published data set or your
    own; with labels of whole videos there are only figures of videos. If the data set
    has its own split, its test part is used.
    """
    from oddframe import api
    from oddframe._utils.files import json_text
    from oddframe.errors import InputError, UsageError
    from oddframe.events import RuleChanges
    from oddframe.outputs.pages.evaluation_files import evaluation_record, evaluation_tables

    if as_json and markdown:
        raise UsageError("--json and --markdown: choose one; --out writes both")
    with progress_bar(quiet=quiet) as bar:
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
            progress=stage_bars(bar),
            message=message_printer(quiet=quiet),
        )
    if as_json:
        print_answer(json_text(evaluation_record(evaluation), indent=2))
    elif markdown:
        print_answer(evaluation_tables(evaluation))
    else:
        _print_evaluation(evaluation, out)
    if evaluation.failed:
        raise typer.Exit(InputError.exit_code)


def _print_evaluation(evaluation: Evaluation, out: Path | None) -> None:
    from oddframe.outputs.pages.evaluation_summary import (
        describe_alarm_rate,
        key_figures,
        summary_sentence,
    )

    print_answer(f"{printable(evaluation.title)}: {summary_sentence(evaluation)}")
    for name, value, basis in key_figures(evaluation):
        print_answer(f"  {name:<22} {value:>10}  {basis}".rstrip())
    print_answer(describe_alarm_rate(evaluation.overall.false_alarms))
    if out is not None:
        print_answer(f"Look at it: {printable(str(out / 'study.html'))}")
