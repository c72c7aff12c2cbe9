"""``oddframe calibrate``: set a model's threshold on normal video; see ``oddframe.calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli import options as opt
from oddframe.cli.console import message_printer, print_answer, print_json, printable, progress_bar
from oddframe.errors import InputError

if TYPE_CHECKING:
    from oddframe.evaluation.calibrate import CalibratedThreshold


def calibrate_command(
    model: opt.ModelArgument,
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
    release: opt.ReleaseOption = None,
    smooth: opt.SmoothOption = None,
    min_length: opt.MinLengthOption = None,
    gap: opt.GapOption = None,
    mask: opt.MaskOption = None,
    profile: opt.ProfileOption = opt.ProfileChoice.best,
    store: opt.StoreOption = opt.STORE_DEFAULT,
    device: opt.DeviceOption = opt.Device.auto,
    engine: opt.EngineOption = opt.Engine.auto,
    precision: opt.PrecisionOption = opt.Precision.auto,
    jobs: opt.JobsOption = 1,
    memory: opt.MemoryOption = None,
    patience: opt.PatienceOption = opt.DEFAULT_PATIENCE_S,
    as_json: opt.JsonOption = False,
    quiet: opt.QuietOption = False,
    debug: opt.DebugOption = False,
) -> None:
    """Set a model's threshold on normal video of the cameras that it will watch.

    Says how many hours it was set on, the 95 % interval of the rate of false alarms, how thresholds
    do on video that did not set them, and whether so little video can show the rate that you ask
    for: if not, the threshold may rise but does not fall. Mask and event options are kept in the
    model. The threshold of the other profile does not change.
    """
    from oddframe import api
    from oddframe.events import RuleChanges

    with progress_bar(quiet=quiet) as progress:
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
            progress=progress,
            message=message_printer(quiet=quiet, always="left out: "),
        )
    if as_json:
        print_json(result.to_dict())
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
    from oddframe.outputs.pages.evaluation_text import (
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
        target, needed = threshold.target_per_hour, format_hours(threshold.hours_needed)
        enough = "no amount of video shows that there will never be one"
        if target > 0:
            enough = f"at least {needed} of normal video would be needed"
        seen = format_hours(threshold.false_alarms.hours)
        print_answer(f"  This cannot promise {target:g} an hour: {enough}, and this is {seen}.")
    if threshold.unchanged:
        print_answer("  So little video does not lower a threshold: it stays as it was.")
    if threshold.value > 1:
        print_answer("  The threshold is above every possible score: nothing will ever be found.")
