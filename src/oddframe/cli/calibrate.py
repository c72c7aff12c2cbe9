"""``oddframe calibrate``: set a model's threshold on normal video; see ``oddframe.calibrate``."""

from __future__ import annotations

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
    StoreOption,
)

if TYPE_CHECKING:
    from oddframe.evaluation.thresholds import CalibratedThreshold

CALIBRATE_EXAMPLE = (
    "Example: oddframe calibrate fight cam3/ --false-alarms-per-hour 0.5 --out cam3.safetensors"
)


def calibrate_command(
    model: ModelArgument,
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEOS...", help="Videos, folders, glob patterns in which nothing odd happens."
        ),
    ],
    per_hour: Annotated[
        float,
        typer.Option(
            "--false-alarms-per-hour", min=0, max=1e6, help="The highest rate of false alarms."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model file with the new threshold.")],
    each: Annotated[
        bool,
        typer.Option(
            "--each", help="Also a threshold for each camera: the folder that a video lies in."
        ),
    ] = False,
    release: EventOptions.Release = None,
    smooth: EventOptions.Smooth = None,
    min_length: EventOptions.MinLength = None,
    gap: EventOptions.Gap = None,
    mask: MaskOption = None,
    profile: ProfileOption = ProfileChoice.best,
    store: StoreOption = STORE_DEFAULT,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = DEFAULT_PATIENCE_S,  # noqa: ARG001
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Set a model's threshold on normal video of the cameras that it will watch.

    Says how many hours it was set on, the 95 % interval of the rate of false alarms, how thresholds
    do on video that did not set them, and whether so little video can show the rate that you ask
    for: if not, the threshold may rise but does not fall. Mask and event options are kept in the
    model. The threshold of the other profile does not change.
    """
    from oddframe import api
    from oddframe._utils.files import json_text
    from oddframe.errors import InputError
    from oddframe.events import RuleChanges

    with progress_bar(quiet=quiet) as bar:
        result = api.calibrate(
            model,
            videos,
            false_alarms_per_hour=per_hour,
            by_camera=each,
            out=out,
            profile=profile.value,
            rule=RuleChanges(release, smooth, min_length, gap),
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
        print_answer(json_text(result.to_dict(), indent=2))
    else:
        value = result.threshold.value
        print_answer(f"{printable(str(out))}: threshold {value:.4g}, was {result.previous:.4g}")
        _print_threshold(result.threshold)
        for camera, threshold in result.cameras.items():
            print_answer(f"camera {printable(camera)}: threshold {threshold.value:.4g}")
            _print_threshold(threshold)
    if result.failed:
        raise typer.Exit(InputError.exit_code)


def _print_threshold(threshold: CalibratedThreshold) -> None:
    from oddframe.outputs.pages.evaluation_summary import (
        describe_alarm_rate,
        format_alarm_rate,
        format_hours,
    )

    print_answer(f"  {describe_alarm_rate(threshold.false_alarms)}")
    if threshold.cross_checked is None:
        print_answer("  It could not be checked: that takes at least two videos.")
    else:
        rate = format_alarm_rate(threshold.cross_checked)
        print_answer(f"  Set on some videos and counted on the others: {rate} an hour.")
    if not threshold.enough_hours:
        enough = "no amount of video shows that there will never be one"
        if threshold.target_per_hour > 0:
            enough = (
                f"at least {format_hours(threshold.hours_needed)} of normal video would be needed"
            )
        seen = format_hours(threshold.false_alarms.hours)
        print_answer(
            f"  This cannot promise {threshold.target_per_hour:g} an hour: {enough}, and this is "
            f"{seen}."
        )
    if threshold.unchanged:
        print_answer("  So little video does not lower a threshold: it stays as it was.")
    if threshold.value > 1:
        print_answer("  The threshold is above every possible score: nothing will ever be found.")
