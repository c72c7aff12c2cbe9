"""``oddframe calibrate``: the threshold for a wished number of false alarms an hour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli.console import follow, note, printable, progress_bar, say
from oddframe.cli.options import (
    FEATURES,
    PATIENCE_S,
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
    ProfileName,
    ProfileOption,
    QuietOption,
    StoreOption,
)

if TYPE_CHECKING:
    from oddframe.evaluation.thresholds import Threshold

EXAMPLE = (
    "Example: oddframe calibrate fight cam3/ --false-alarms-per-hour 0.5 --out cam3.safetensors"
)


def calibrate(
    model: ModelArgument,
    videos: Annotated[
        list[str],
        typer.Argument(metavar="VIDEOS...", help="Videos, folders, globs; nothing happens there."),
    ],
    per_hour: Annotated[
        float, typer.Option("--false-alarms-per-hour", min=0, max=1e6, help="At most so many.")
    ],
    out: Annotated[Path, typer.Option(help="The model file with the new threshold.")],
    each: Annotated[
        bool, typer.Option("--each", help="Also one for each camera: the folder a video lies in.")
    ] = False,
    release: EventOptions.Release = None,
    smooth: EventOptions.Smooth = None,
    min_length: EventOptions.MinLength = None,
    gap: EventOptions.Gap = None,
    mask: MaskOption = None,
    profile: ProfileOption = ProfileName.best,
    store: StoreOption = FEATURES,
    device: DeviceOption = Device.auto,
    engine: EngineOption = Engine.auto,
    precision: PrecisionOption = Precision.auto,
    jobs: JobsOption = 1,
    memory: MemoryOption = None,  # noqa: ARG001 - its callback sets the limit
    patience: PatienceOption = PATIENCE_S,  # noqa: ARG001
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,  # noqa: ARG001
) -> None:
    """Set a model's threshold on normal video of the cameras that it will watch.

    Says how many hours it stands on, between which rates the truth lies with 95 % certainty, how
    thresholds do on video that did not set them, and whether so little video can show what was
    wished: if not, the threshold may rise but does not fall. The mask and the event options that it
    was set with are kept in the model. The threshold of the other profile stays as it is.
    """
    from dataclasses import replace

    from oddframe._utils.files import json_text
    from oddframe.cameras import camera_of, masks_of, shared_mask, with_masks, with_thresholds
    from oddframe.datasets.labelled import NORMAL, LabelledVideo
    from oddframe.detector import Detector
    from oddframe.errors import InputError, UsageError
    from oddframe.evaluation.scoring import score_videos, used_mask
    from oddframe.evaluation.thresholds import set_by_camera, set_threshold
    from oddframe.events import RuleChanges
    from oddframe.features.store.store import FeatureStore
    from oddframe.modelfile import save_model
    from oddframe.video.discover import find_inputs
    from oddframe.video.mask import read_masks

    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: a model file ends in .safetensors")
    detector = Detector.load(
        model,
        profile=profile.value,
        device=device.value,
        engine=engine.value,
        precision=precision.value,
    )
    masks = read_masks(mask)
    before, name = RuleChanges(release, smooth, min_length, gap).of(detector.rule), profile.value
    normal = [LabelledVideo(p, False, NORMAL, camera_of(p)) for p in find_inputs(videos)]
    with progress_bar(quiet=quiet) as bar:
        kept, progress = FeatureStore(store), follow(bar, "scoring")
        scored, failed = score_videos(detector, normal, kept, progress, jobs, masks)
    for line in failed:
        note(f"left out: {printable(line)}")
    if not scored:
        raise InputError("none of these videos could be scored: no threshold, nothing written")
    found = set_threshold([track for _, track in scored], per_hour, before)
    cameras = {}
    if each:
        own = [(video.group, track) for video, track in scored]
        cameras = set_by_camera(own, per_hour, before.with_threshold(found.value))
    told = _told(found)
    if cameras:
        told["cameras"] = {camera: _told(one) for camera, one in cameras.items()}
    thresholds = {camera: one.value for camera, one in cameras.items()}
    common, by_camera = shared_mask((v.path, used_mask(v, masks)) for v, _ in scored)
    told["mask"] = by_camera or common
    profiles = dict(detector.model.profiles)
    if found.kept:  # Keep its mask, too; a camera whose own threshold changed has the new one.
        used = {video.group: used_mask(video, masks) for video, _ in scored}
        changed = {camera: used[camera] for camera, one in cameras.items() if not one.kept}
        common, by_camera = profiles[name].spec.mask, masks_of(detector.model.card, name)
        if changed:
            by_camera = (by_camera or dict.fromkeys(cameras, common)) | changed
    card = with_thresholds(detector.model.card, name, thresholds) | {f"calibration_{name}": told}
    card = with_masks(card, name, by_camera)
    spec = replace(profiles[name].spec, mask=common)
    profiles[name] = replace(profiles[name], spec=spec, rule=before.with_threshold(found.value))
    half = bool(card.get("configuration", {}).get("half"))
    save_model(replace(detector.model, profiles=profiles, card=card), out, half=half)
    if as_json:
        answer = {"model": str(out), "profile": name, "threshold_before": before.threshold}
        say(json_text({**answer, **told, "failed": failed}, indent=2))
    else:
        say(f"{printable(str(out))}: threshold {found.value:.4g}, was {before.threshold:.4g}")
        _show(found)
        for camera, one in cameras.items():
            say(f"camera {printable(camera)}: threshold {one.value:.4g}")
            _show(one)
    if failed:
        raise typer.Exit(InputError.exit_code)


def _told(found: Threshold) -> dict[str, Any]:
    """A threshold and what it stands on, as JSON types."""
    rate, checked = found.alarms.per_hour, found.checked
    told: dict[str, Any] = {
        "threshold": found.value,
        "wished_per_hour": found.wish,
        "videos": found.videos,
        "hours": found.alarms.hours,
        "false_alarms": found.alarms.count,
        "per_hour_95": [rate.low, rate.high],
        "hours_are_enough": found.enough,
        "kept": found.kept,
        "on_others": None,
    }
    if checked is not None:
        told["on_others"] = {
            "false_alarms": checked.count,
            "per_hour": checked.per_hour.value,
            "per_hour_95": [checked.per_hour.low, checked.per_hour.high],
        }
    return told


def _show(found: Threshold) -> None:
    from oddframe.outputs.pages.evaluation_summary import about_rate, hours, rate

    say(f"  {about_rate(found.alarms)}")
    if found.checked is None:
        say("  It could not be checked: that takes at least two videos.")
    else:
        say(f"  Set on some videos and counted on the others: {rate(found.checked)} an hour.")
    if not found.enough:
        enough = "no amount of video shows that there will never be one"
        if found.wish > 0:
            enough = f"at least {hours(found.hours_needed)} of normal video would be needed"
        seen = hours(found.alarms.hours)
        say(f"  This cannot promise {found.wish:g} an hour: {enough}, and this is {seen}.")
    if found.kept:
        say("  So little video does not lower a threshold: it stays as it was.")
    if found.value > 1:
        say("  The threshold is above every possible score: nothing will ever be found.")
