"""``oddframe evaluate``: how good a model is on labelled videos that it was not trained on."""

from __future__ import annotations

from enum import StrEnum
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
    FeaturesOption,
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
    SoundOption,
    StoreOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    from oddframe.detector import Detector
    from oddframe.evaluation.results import Evaluation
    from oddframe.outputs.pages.evaluation_report import EvaluationReport

EXAMPLE = "Example: oddframe evaluate my_model.safetensors held_out/ --out results"


class Protocol(StrEnum):
    frames = "frames"
    official = "official"


def evaluate(
    model: ModelArgument,
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="A folder, a CSV, or NAME:DIR; see docs/data.md.")
    ],
    protocol: Annotated[
        Protocol,
        typer.Option(help="frames: every frame; official: snippets repeated, the tail dropped."),
    ] = Protocol.frames,
    profile: ProfileOption = ProfileName.best,
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
    store: StoreOption = DEFAULT_STORE,
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

    Frame figures need to know when it happens (a published data set, or times of your own); with
    labels of whole videos there are the figures of videos. Of a data set with a split of its own,
    the test part is taken.
    """
    from oddframe._utils.files import json_text, make_folder
    from oddframe.cameras import camera_rule
    from oddframe.datasets.attach_features import attach_features
    from oddframe.datasets.registry import open_dataset
    from oddframe.detector import Detector
    from oddframe.errors import InputError, UsageError
    from oddframe.evaluation.evaluate import evaluate_scores as judge
    from oddframe.evaluation.results import ScoredVideo
    from oddframe.evaluation.scoring import (
        check_precomputed_spec,
        count_trained_on,
        mask_used,
        score_videos,
    )
    from oddframe.events import RuleChanges
    from oddframe.features.store.store import FeatureStore
    from oddframe.outputs.pages.evaluation_text import evaluation_to_dict, evaluation_to_markdown
    from oddframe.video.mask import read_masks

    if as_json and markdown:
        raise UsageError("--json and --markdown: choose one; --out writes both")
    kept = FeatureStore(store)
    dataset = attach_features(open_dataset(data).select_part("test"), kept, features or None, sound)
    detector = Detector.load(
        model,
        profile=profile.value,
        device=device.value,
        engine=engine.value,
        precision=precision.value,
    )
    masks = read_masks(mask)
    check_precomputed_spec(detector.model, dataset.videos)
    if out is not None:
        make_folder(out)  # Before the work, not after it.
    with progress_bar(quiet=quiet) as bar:
        told = bar_progress(bar, "scoring")
        scored, failed = score_videos(detector, dataset.videos, kept, told, jobs, masks)
    for line in failed:
        print_note(f"left out: {printable(line)}")
    if not scored:
        raise InputError(f"{data}: none of its {len(dataset)} videos could be scored")
    rule = RuleChanges(release, smooth, min_length, gap).of(detector.rule)
    if threshold is not None:
        rule = rule.with_threshold(threshold)
    card = detector.model.card if threshold is None else {}
    judged = [
        ScoredVideo(video, track, camera_rule(card, profile.value, rule, video.path))
        for video, track in scored
    ]
    found = judge(judged, rule, protocol.value)

    beware = []
    if threshold is None:
        used = [(video.path, mask_used(video, masks)) for video, _ in scored]
        beware += detector.threshold_notes(used, rule)
    if seen := count_trained_on(detector.model, dataset.name, [video for video, _ in scored]):
        beware.append(
            f"this model has learned from {seen} of {len(scored)} videos, or from others of their "
            "groups: on those the figures say nothing of new videos."
        )
    if failed:
        beware.append(f"{len(failed)} of {len(dataset)} videos could not be scored.")
    for line in beware:
        print_note(f"beware: {line}", quiet=quiet)
    title = f"{detector.model.name} on {dataset.name}"
    answer = {"model": detector.model.name, "data": dataset.name, **evaluation_to_dict(found)}
    answer |= {"warnings": beware, "failed": failed}
    tables = evaluation_to_markdown(found, title, beware)
    if out is not None:
        _write(out, _study(title, detector, found, beware), tables, answer)
    if as_json or markdown:
        print_answer(json_text(answer, indent=2) if as_json else tables)
    else:
        _show(title, found, out)
    if failed:
        raise typer.Exit(InputError.exit_code)


def _study(
    title: str, detector: Detector, found: Evaluation, beware: list[str]
) -> EvaluationReport:
    from oddframe.outputs.pages.evaluation_report import EvaluationReport
    from oddframe.outputs.pages.evaluation_summary import format_hours

    model, info, rule = detector.model, detector.info, found.rule
    told = (
        f"{found.overall.videos} labelled videos, {found.overall.abnormal} of them abnormal, "
        f"{format_hours(found.overall.hours)} in all, scored by “{model.name}”, which was trained to find "  # noqa: E501
        f"{model.detects}. A video is called abnormal where it has an event.",
    )
    event = f"starts at {rule.threshold:.3g}, ends below {rule.release:.3g}"
    facts = (
        ("Model", f"{model.name} (oddframe {model.version})"),
        ("Method", model.method),
        ("Backbone", info.backbone),
        ("Profile and engine", f"{info.profile}, {info.engine}"),
        ("An event", event),
        ("SHA-256 of the model file", model.sha256),
    )
    return EvaluationReport(title, told, found, tuple(beware), facts=facts)


def _write(out: Path, study: EvaluationReport, tables: str, answer: dict[str, Any]) -> None:
    """Write page and tables, then the figures with the sha256 of both."""
    from oddframe._utils.files import file_sha256, json_text, write_text
    from oddframe.outputs.pages.evaluation_page import write_evaluation_page

    others = [out / "evaluation.md", out / "study.html"]
    write_text(others[0], tables)
    write_evaluation_page(study, others[1])
    files = {path.name: file_sha256(path) for path in others}
    write_text(out / "evaluation.json", json_text({**answer, "files": files}, indent=2) + "\n")


def _show(title: str, found: Evaluation, out: Path | None) -> None:
    from oddframe.outputs.pages.evaluation_summary import (
        describe_alarm_rate,
        key_figures,
        summary_sentence,
    )

    print_answer(f"{printable(title)}: {summary_sentence(found)}")
    for name, value, about in key_figures(found):
        print_answer(f"  {name:<22} {value:>10}  {about}".rstrip())
    print_answer(describe_alarm_rate(found.overall.false_alarms))
    if out is not None:
        print_answer(f"Look at it: {printable(str(out / 'study.html'))}")
