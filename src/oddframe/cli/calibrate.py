"""``oddframe calibrate``: the threshold for a wished number of false alarms an hour."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oddframe.cli.console import bar_progress, print_answer, print_note, printable, progress_bar
from oddframe.cli.options import (
    DEFAULT_PATIENCE_S,
    DEFAULT_STORE,
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
    from oddframe.evaluation.thresholds import CalibratedThreshold

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
    store: StoreOption = DEFAULT_STORE,
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

    Says how many hours it stands on, between which rates the truth lies with 95 % certainty, how
    thresholds do on video that did not set them, and whether so little video can show what was
    wished: if not, the threshold may rise but does not fall. The mask and the event options that it
    was set with are kept in the model. The threshold of the other profile stays as it is.
    """
    from dataclasses import replace

    from oddframe._utils.files import json_text
    from oddframe.cameras import (
        camera_name,
        masks_by_camera,
        summarize_masks,
        with_masks,
        with_thresholds,
    )
    from oddframe.datasets.labelled import NORMAL, LabelledVideo
    from oddframe.detector import Detector
    from oddframe.errors import InputError, UsageError
    from oddframe.evaluation.scoring import mask_used, score_videos
    from oddframe.evaluation.thresholds import set_threshold, set_thresholds_by_camera
    from oddframe.events import RuleChanges
    from oddframe.features.store.store import FeatureStore
    from oddframe.modelfile import save_model
    from oddframe.video.discover import find_videos
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
    normal = [LabelledVideo(p, False, NORMAL, camera_name(p)) for p in find_videos(videos)]
    with progress_bar(quiet=quiet) as bar:
        kept, progress = FeatureStore(store), bar_progress(bar, "scoring")
        scored, failed = score_videos(detector, normal, kept, progress, jobs, masks)
    for line in failed:
        print_note(f"left out: {printable(line)}")
    if not scored:
        raise InputError("none of these videos could be scored: no threshold, nothing written")
    found = set_threshold([track for _, track in scored], per_hour, before)
    cameras = {}
    if each:
        own = [(video.group, track) for video, track in scored]
        cameras = set_thresholds_by_camera(own, per_hour, before.with_threshold(found.value))
    told = _told(found)
    if cameras:
        told["cameras"] = {camera: _told(one) for camera, one in cameras.items()}
    thresholds = {camera: one.value for camera, one in cameras.items()}
    common, by_camera = summarize_masks((v.path, mask_used(v, masks)) for v, _ in scored)
    told["mask"] = by_camera or common
    profiles = dict(detector.model.profiles)
    if found.unchanged:  # Keep its mask, too; a camera whose own threshold changed has the new one.
        used = {video.group: mask_used(video, masks) for video, _ in scored}
        changed = {camera: used[camera] for camera, one in cameras.items() if not one.unchanged}
        common, by_camera = profiles[name].spec.mask, masks_by_camera(detector.model.card, name)
        if changed:
            by_camera = (by_camera or dict.fromkeys(cameras, common)) | changed
    card = with_thresholds(detector.model.card, name, thresholds) | {f"calibration_{name}": told}
    card = with_masks(card, name, by_camera)
    spec = replace(profiles[name].spec, mask=common)
    profiles[name] = replace(profiles[name], spec=spec, rule=before.with_threshold(found.value))
    half = bool(card.get("configuration", {}).get("half"))
    save_model(replace(detector.model, profiles=profiles, card=card), out, fp16=half)
    if as_json:
        answer = {"model": str(out), "profile": name, "threshold_before": before.threshold}
        print_answer(json_text({**answer, **told, "failed": failed}, indent=2))
    else:
        print_answer(
            f"{printable(str(out))}: threshold {found.value:.4g}, was {before.threshold:.4g}"
        )
        _show(found)
        for camera, one in cameras.items():
            print_answer(f"camera {printable(camera)}: threshold {one.value:.4g}")
            _show(one)
    if failed:
        raise typer.Exit(InputError.exit_code)


def _told(found: CalibratedThreshold) -> dict[str, Any]:
    """A threshold and what it stands on, as JSON types."""
    rate, checked = found.false_alarms.per_hour, found.cross_checked
    told: dict[str, Any] = {
        "threshold": found.value,
        "wished_per_hour": found.target_per_hour,
        "videos": found.videos,
        "hours": found.false_alarms.hours,
        "false_alarms": found.false_alarms.count,
        "per_hour_95": [rate.low, rate.high],
        "hours_are_enough": found.enough_hours,
        "kept": found.unchanged,
        "on_others": None,
    }
    if checked is not None:
        told["on_others"] = {
            "false_alarms": checked.count,
            "per_hour": checked.per_hour.value,
            "per_hour_95": [checked.per_hour.low, checked.per_hour.high],
        }
    return told


def _show(found: CalibratedThreshold) -> None:
    from oddframe.outputs.pages.evaluation_summary import (
        describe_alarm_rate,
        format_alarm_rate,
        format_hours,
    )

    print_answer(f"  {describe_alarm_rate(found.false_alarms)}")
    if found.cross_checked is None:
        print_answer("  It could not be checked: that takes at least two videos.")
    else:
        print_answer(
            f"  Set on some videos and counted on the others: {format_alarm_rate(found.cross_checked)} an hour."  # noqa: E501
        )
    if not found.enough_hours:
        enough = "no amount of video shows that there will never be one"
        if found.target_per_hour > 0:
            enough = f"at least {format_hours(found.hours_needed)} of normal video would be needed"
        seen = format_hours(found.false_alarms.hours)
        print_answer(
            f"  This cannot promise {found.target_per_hour:g} an hour: {enough}, and this is "
            f"{seen}."
        )
    if found.unchanged:
        print_answer("  So little video does not lower a threshold: it stays as it was.")
    if found.value > 1:
        print_answer("  The threshold is above every possible score: nothing will ever be found.")
