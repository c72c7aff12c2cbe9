"""``oddframe calibrate``: the threshold for a wished number of false alarms an hour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oddframe.cli.console import follow, note, printable, progress_bar, say
from oddframe.cli.options import (
    DebugOption,
    Device,
    DeviceOption,
    Engine,
    EngineOption,
    JsonOption,
    ProfileName,
    ProfileOption,
    QuietOption,
)

if TYPE_CHECKING:
    from oddframe.events import Calibration

EXAMPLE = (
    "Example: oddframe calibrate fight cam3/ --false-alarms-per-hour 0.5 --out cam3.safetensors"
)
SOME_FAILED = 3
# Three hours without an alarm rule out one an hour, at 95 %; less video does not.
_HOURS_A_WISH = 3.0


def calibrate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A shipped model's name, or a model file.")
    ],
    videos: Annotated[
        list[str],
        typer.Argument(metavar="VIDEOS...", help="Videos, folders, globs; nothing happens there."),
    ],
    per_hour: Annotated[
        float, typer.Option("--false-alarms-per-hour", min=0, help="At most so many.")
    ],
    out: Annotated[Path, typer.Option(help="The model file with the new threshold.")],
    profile: ProfileOption = ProfileName.best,
    store: Annotated[
        Path, typer.Option(help="Where features are kept, so that a second run starts at once.")
    ] = Path(".oddframe/features"),
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Set a model's threshold on normal video of the cameras that it will watch.

    One threshold for all. Says how many hours it stands on, between which rates the truth lies with
    95 % certainty, and whether so little video can show what was wished. The threshold of the other
    profile stays as it is.
    """
    import json
    from dataclasses import replace

    from oddframe.datasets.labelled import NORMAL, LabelledVideo
    from oddframe.detector import Detector
    from oddframe.errors import InputError, UsageError
    from oddframe.events import calibrate as lowest
    from oddframe.experiments.scoring import score_videos
    from oddframe.features.store import FeatureStore
    from oddframe.metrics import poisson_interval
    from oddframe.modelfile import save_model
    from oddframe.video.discover import find_inputs

    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: a model file ends in .safetensors")
    detector = Detector.load(model, profile=profile.value, device=device.value, engine=engine.value)
    normal = [LabelledVideo(p, False, NORMAL, str(p.parent)) for p in find_inputs(videos)]
    with progress_bar(quiet=quiet) as bar:
        scored, failed = score_videos(detector, normal, FeatureStore(store), follow(bar, "scoring"))
    for line in failed:
        note(f"left out: {printable(line)}")
    if not scored:
        raise InputError("none of these videos could be scored: no threshold, nothing written")
    before = detector.rule
    found = lowest([track for _, track in scored], per_hour, before)
    rate = poisson_interval(found.false_alarms, found.hours)
    shown = found.hours * per_hour >= _HOURS_A_WISH
    told = {
        "threshold": found.threshold,
        "wished_per_hour": per_hour,
        "videos": len(scored),
        "hours": found.hours,
        "false_alarms": found.false_alarms,
        "per_hour_95": [rate.low, rate.high],
        "hours_are_enough": shown,
    }
    name = profile.value
    rule = before.with_threshold(found.threshold)
    calibrated = replace(detector.model.profiles[name], rule=rule)
    save_model(
        replace(
            detector.model,
            profiles={**detector.model.profiles, name: calibrated},
            card={**detector.model.card, f"calibration_{name}": told},
        ),
        out,
    )
    if as_json:
        answer = {"model": str(out), "profile": name, "threshold_before": before.threshold}
        say(json.dumps({**answer, **told, "failed": failed}, indent=2))
    else:
        say(f"{printable(str(out))}: threshold {found.threshold:.4g}, was {before.threshold:.4g}")
        _show(found, per_hour, shown=shown)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _show(found: Calibration, wish: float, *, shown: bool) -> None:
    from oddframe.experiments.evaluation import Rate
    from oddframe.outputs.study_words import about_rate, hours

    say(about_rate(Rate(found.false_alarms, found.hours)))
    if shown:
        return
    if wish > 0:
        enough = f"at least {hours(_HOURS_A_WISH / wish)} of normal video would be needed"
    else:
        enough = "no amount of video shows that there will never be one"
    say(f"This cannot promise {wish:g} an hour: {enough}, and this is {hours(found.hours)}.")
    if found.threshold > 1:
        say("The threshold is above every possible score: nothing will ever be found.")
