"""Train, evaluate and calibrate: each function does what the command of its name does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from oddframe._utils.files import make_folder
from oddframe._utils.progress import MessageCallback, ProgressCallback, stage_progress
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.cameras import camera_name, camera_rule
from oddframe.datasets.check import check_dataset
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo
from oddframe.datasets.precomputed import attach_features
from oddframe.datasets.registry import survey_dataset
from oddframe.detector import Detector
from oddframe.errors import InputError, UsageError, has_torch, torch_needed
from oddframe.evaluation.calibrate import CalibrationResult, calibrate_model
from oddframe.evaluation.evaluate import Evaluation, FrameProtocol, ScoredVideo, evaluate_scores
from oddframe.evaluation.scoring import (
    check_precomputed_spec,
    count_trained_on,
    mask_used,
    score_videos,
)
from oddframe.events import RuleChanges
from oddframe.features.store.store import FeatureStore
from oddframe.modelfile import Model, load_model, save_model
from oddframe.outputs.pages.evaluation_page import write_evaluation, write_evaluation_page
from oddframe.video.discover import find_videos
from oddframe.video.mask import read_masks

if TYPE_CHECKING:  # They import PyTorch, which evaluating and calibrating do not need.
    from oddframe.training.config import TrainConfig
    from oddframe.training.search import SearchResult
    from oddframe.training.trainer import SeedRun

ConfigLike: TypeAlias = "TrainConfig | Mapping[str, Any] | str | Path"
ModelProfile = Literal["best", "fast"]

_logger = logging.getLogger("oddframe")


def log_message(line: str) -> None:
    """The default message callback: log warnings as such, and all else as information."""
    is_warning = line.startswith(("warning: ", "left out: "))
    _logger.log(logging.WARNING if is_warning else logging.INFO, "%s", line)


@dataclass(frozen=True)
class TrainingResult:
    """A trained model, and how it came about.

    Attributes:
        path: The model file.
        report: The HTML page beside it.
        model: The model.
        config: The configuration it was trained with, including the setting that was chosen.
        evaluation: The model on the held-out videos; None: none were held out.
        search: What a search within a time budget tried and chose; None: there was none.
        seeds: One entry a training where several seeds were trained.
        log: File with the loss terms of every step of the training that was kept.
        data_warnings: What is wrong or suspicious with the data.
        warnings: What a reader of the metrics should know.
    """

    path: Path
    report: Path
    model: Model
    config: TrainConfig
    evaluation: Evaluation | None
    search: SearchResult | None
    seeds: tuple[SeedRun, ...]
    log: Path
    data_warnings: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The answer of ``oddframe train --json``."""
        return {
            "model": str(self.path),
            "report": str(self.report),
            "knows": self.model.detects,
            "threshold": self.model.profiles["best"].rule.threshold,
            "metrics": dict(self.model.metrics),
            "chosen": None if self.search is None else asdict(self.search.chosen),
            "seeds": self.model.card.get("seeds"),
            "warnings": list(self.warnings),
        }


def train(
    data: str | Path | Dataset,
    out: str | Path = "model.safetensors",
    *,
    method: str | None = None,
    config: ConfigLike | None = None,
    pretrained: Model | str | Path | None = None,
    validation: float | Sequence[str] | None = None,
    budget: str | float | None = None,
    seed: int | None = None,
    seeds: int = 1,
    tiles: str | None = None,
    regions: str | None = None,
    squares: int | None = None,
    fast: bool = False,
    features: str | Path | None = None,
    audio_features: Path | None = None,
    mask: str | Path | None = None,
    store: str | Path = ".oddframe/features",
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    jobs: int = 1,
    fresh: bool = False,
    tensorboard: str | Path | None = None,
    pictures: bool = False,
    progress: ProgressCallback | None = None,
    message: MessageCallback = log_message,
    command: str | None = None,
) -> TrainingResult:
    """Train a detector on videos of which only the label of the whole video is known.

    Checks the data, groups videos without a group by scene, extracts features and stores them,
    trains, sets the threshold and measures the model on groups that were held out. Writes the model
    to ``out`` and a report to ``<out>.report.html``. With normal videos alone it trains a detector
    of what is unusual.

    Ctrl-C raises KeyboardInterrupt. The same call then resumes: features are stored, and
    ``<out>.training`` has the state of the training.

    Examples:
        >>> import oddframe
        >>> result = oddframe.train("clips", "mine.safetensors", method="linear")
        >>> print(result.path, "detects", result.model.detects)
        mine.safetensors detects fight
        >>> oddframe.Detector.load("mine.safetensors").score("clips/fight/fi150.mp4").scores.shape
        (4,)

    Args:
        data: A folder with ``normal/`` and other classes, a CSV file ``path,label[,group]``, or
            ``NAME:DIR`` for a published data set; or a ``Dataset``.
        out: The model file, ``*.safetensors``.
        method: A method's name, instead of the configuration's or of the pretrained model's.
        config: A YAML file, the name of a shipped configuration, a mapping with the same keys, or a
            ``TrainConfig``. None: the defaults, or those that fit the pretrained model.
        pretrained: A model, its file or its name; training starts from its weights.
        validation: Which groups are held out: a share of the videos, up to 0.5, or the groups'
            names. None: as the configuration says, which is a fifth by default.
        budget: Time for everything, in seconds or as ``"30m"``. Whatever remains after the features
            are loaded is used to search for better settings. None: no search.
        seed: Instead of the configuration's.
        seeds: Train this many models with different seeds and keep the best on validation groups.
        tiles: ``"2x3"``: cut the picture into rows and columns, each with its own scores.
        regions: The same for the backbone's features of the whole picture.
        squares: Look at so many small squares of the picture in which most of the motion is.
        fast: Also give the model a profile ``fast``, which reads one snippet of five.
        features: For a published data set: a folder of its feature files, or the kind of features
            that was imported.
        audio_features: Folder of feature files of the sound, to join to ``features``.
        mask: A picture that is black where the video is to be ignored, or a folder with one for
            each camera.
        store: Folder where features are stored.
        device: ``auto``, ``cpu`` or ``cuda``.
        engine: What runs the backbone: ``auto``, ``openvino`` or ``torch``.
        precision: Of the backbone: ``auto``, ``float32`` or ``bfloat16``.
        jobs: Number of videos that are decoded at the same time.
        fresh: Start again instead of resuming an interrupted run.
        tensorboard: Folder for TensorBoard.
        pictures: Give the model file small pictures of the up to 64 training clips that it carries,
            for reports to show what an event looks like. Off by default, because the pictures may
            show people, and a model file is made to be passed on.
        progress: Called as ``progress(done, total, text)``; the text begins with the stage.
        message: Called with each warning and each result of a search. By default these are logged
            by the logger ``oddframe``.
        command: What the report names as the command that trains the model again.

    Raises:
        UsageError: an argument or the configuration is not possible.
        InputError: the data cannot be used; the message says what to change.
        OddframeError: training failed, or a file cannot be written.
    """
    if not has_torch():
        raise torch_needed("training")
    from oddframe.outputs.pages.training_page import evaluate_held_out, training_report
    from oddframe.training.configure import check_audio, with_fast
    from oddframe.training.data.splits import group_by_scene
    from oddframe.training.search import Budget, parse_time_budget
    from oddframe.training.train import run_training

    seconds = parse_time_budget(budget) if isinstance(budget, str) else budget
    limit = None if seconds is None else Budget(seconds)
    base = load_model(pretrained) if isinstance(pretrained, str | Path) else pretrained
    settings = _configure(config, base, method, tiles, regions, squares, seed, validation)
    if fast:
        settings = with_fast(settings)
    masks = read_masks(None if mask is None else Path(mask))
    survey = survey_dataset(data)
    feature_store, path = FeatureStore(Path(store)), Path(out)
    dataset = attach_features(survey.require_valid(), feature_store, features, audio_features)
    check_audio(settings, dataset)
    findings = check_dataset(replace(survey, dataset=dataset), progress, feature_store)
    dataset, grouping = group_by_scene(dataset, findings.scenes, settings)
    data_warnings = (*findings.problems, *findings.warnings, *filter(None, [grouping]))
    for line in data_warnings:
        message(f"warning: {line}")
    stage_progress(progress, "features")(0, None)  # Networks may have to be converted first.
    trained = run_training(
        dataset,
        settings,
        path,
        store=feature_store,
        device=device,
        engine=engine,
        jobs=jobs,
        progress=progress,
        message=message,
        resume=not fresh,
        budget=limit,
        seeds=seeds,
        pretrained=base,
        tensorboard=None if tensorboard is None else Path(tensorboard),
        pictures=pictures,
        precision=precision,
        masks=masks,
    )
    evaluation = evaluate_held_out(trained)
    report = path.with_name(f"{path.stem}.report.html")
    command = command or f"oddframe.train({str(data)!r}, {str(out)!r}, ...)"
    write_evaluation_page(training_report(trained, evaluation, data_warnings, command), report)
    return TrainingResult(
        path,
        report,
        trained.model,
        trained.config,
        evaluation,
        trained.search,
        trained.seeds,
        trained.log,
        data_warnings,
        trained.warnings,
    )


def evaluate(
    model: str | Path,
    data: str | Path | Dataset,
    *,
    protocol: FrameProtocol = "frames",
    profile: ModelProfile = "best",
    threshold: float | None = None,
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    out: str | Path | None = None,
    features: str | Path | None = None,
    audio_features: Path | None = None,
    mask: str | Path | None = None,
    store: str | Path = ".oddframe/features",
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    jobs: int = 1,
    progress: ProgressCallback | None = None,
    message: MessageCallback = log_message,
) -> Evaluation:
    """Measure a model on labelled videos: frames, videos, events, delays, false alarms an hour.

    Frame metrics need the times at which something happens, which published data sets have; with
    labels of whole videos there are only the metrics of videos and events. Of a data set with its
    own split the test part is used. Videos that cannot be read are left out and listed in
    ``failed``.

    Examples:
        >>> import oddframe
        >>> evaluation = oddframe.evaluate("fight", "clips", out="results")
        >>> evaluation.overall.confusion.accuracy
        1.0
        >>> [(video.video.path.name, video.predicted_abnormal) for video in evaluation.videos]
        [('fi150.mp4', True), ('nofi079.mp4', False)]

    Args:
        model: A shipped model's name, or a model file.
        data: As for ``train``.
        protocol: ``frames``: every frame counts. ``official``: as in published code, snippets'
            scores are repeated and the frames after the last whole snippet are dropped.
        profile: ``best``, or ``fast`` where the model has it.
        threshold: Instead of the model's own and its cameras'.
        rule: Changes of the model's event rule.
        out: Folder for ``evaluation.html``, ``evaluation.md`` and ``evaluation.json``; None:
            nothing is written.
        features: As for ``train``, and likewise the arguments below.

    Raises:
        UsageError: an argument is not possible.
        InputError: the data cannot be used, or no video could be scored.
        OddframeError: a file cannot be written.
    """
    feature_store = FeatureStore(Path(store))
    survey = survey_dataset(data)
    dataset = attach_features(
        survey.require_valid().select_part("test"), feature_store, features, audio_features
    )
    detector = Detector.load(
        model, profile=profile, device=device, engine=engine, precision=precision
    )
    masks = read_masks(None if mask is None else Path(mask))
    check_precomputed_spec(detector.model, dataset.videos)
    if out is not None:
        make_folder(Path(out))  # Before the work, so that a folder that cannot be made costs none.
    report = stage_progress(progress, "scoring")
    report(0, None)
    scored, failed = score_videos(detector, dataset.videos, feature_store, report, jobs, masks)
    for line in failed:
        message(f"left out: {line}")
    if not scored:
        name = data.name if isinstance(data, Dataset) else data
        raise InputError(f"{name}: none of its {len(dataset)} videos could be scored")
    event_rule = rule.apply_to(detector.rule)
    if threshold is not None:
        event_rule = event_rule.with_threshold(threshold)
    card = detector.model.card if threshold is None else {}
    with_rules = [
        ScoredVideo(video, track, camera_rule(card, profile, event_rule, video.path))
        for video, track in scored
    ]
    evaluation = evaluate_scores(with_rules, event_rule, protocol)
    warnings = []
    if threshold is None:
        used = [(video.path, mask_used(video, masks)) for video, _ in scored]
        warnings += detector.threshold_notes(used, event_rule)
    if seen := count_trained_on(detector.model, dataset.name, [video for video, _ in scored]):
        warnings.append(
            f"this model has learned from {seen} of {len(scored)} videos, or from others of their "
            "groups: their figures say nothing about new videos."
        )
    if failed:
        warnings.append(f"{len(failed)} of {len(dataset)} videos could not be scored.")
    for line in warnings:
        message(f"warning: {line}")
    evaluation = replace(
        evaluation,
        model=detector.model.name,
        data=dataset.name,
        warnings=tuple(warnings),
        failed=tuple(failed),
    )
    if out is not None:
        write_evaluation(evaluation, detector, Path(out))
    return evaluation


def calibrate(
    model: str | Path,
    normal_videos: str | Path | Sequence[str | Path],
    *,
    false_alarms_per_hour: float,
    by_camera: bool = False,
    out: str | Path | None = None,
    profile: ModelProfile = "best",
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    mask: str | Path | None = None,
    store: str | Path = ".oddframe/features",
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    precision: PrecisionName = "auto",
    jobs: int = 1,
    progress: ProgressCallback | None = None,
    message: MessageCallback = log_message,
) -> CalibrationResult:
    """Set a model's threshold on normal video of the cameras that it will watch.

    The threshold is the lowest with at most ``false_alarms_per_hour`` on these videos. Video that
    is too short to show that rate may raise the threshold but does not lower it; the result says
    how much would be needed. Mask and event rule are kept in the model. Videos that cannot be read
    are left out and listed in ``failed``.

    Examples:
        >>> import oddframe
        >>> result = oddframe.calibrate("fight", "clips/normal", false_alarms_per_hour=1)
        >>> print(f"{result.previous:.2f} -> {result.threshold.value:.2f}")
        0.90 -> 0.90
        >>> print(f"{result.threshold.hours_needed:.1f} hours of normal video are needed")
        3.0 hours of normal video are needed

    Args:
        model: A shipped model's name, or a model file.
        normal_videos: Videos, folders or glob patterns. Nothing odd may happen in them.
        false_alarms_per_hour: The highest rate of false alarms.
        by_camera: Also set a threshold for each camera: the folder that a video lies in.
        out: Model file to write, ``*.safetensors``; None: the model is only returned.
        profile: ``best`` or ``fast``; the threshold of the other profile does not change.
        rule: Changes of the model's event rule.
        mask: As for ``train``, and likewise the arguments below.

    Raises:
        UsageError: an argument is not possible.
        InputError: no video could be scored.
        OddframeError: the model cannot be written.
    """
    path = None if out is None else Path(out)
    if path is not None and path.suffix != ".safetensors":
        raise UsageError(f"{path}: a model file ends in .safetensors")
    detector = Detector.load(
        model, profile=profile, device=device, engine=engine, precision=precision
    )
    masks = read_masks(None if mask is None else Path(mask))
    event_rule = rule.apply_to(detector.rule)
    inputs = [normal_videos] if isinstance(normal_videos, str | Path) else normal_videos
    videos = [
        LabelledVideo(each, False, NORMAL, camera_name(each))
        for each in find_videos([str(text) for text in inputs])
    ]
    report = stage_progress(progress, "scoring")
    report(0, None)
    scored, failed = score_videos(detector, videos, FeatureStore(Path(store)), report, jobs, masks)
    for line in failed:
        message(f"left out: {line}")
    if not scored:
        raise InputError(
            "none of these videos could be scored: no threshold was set, no model written"
        )
    result = calibrate_model(
        detector.model,
        profile,
        event_rule,
        [(video, track, mask_used(video, masks)) for video, track in scored],
        false_alarms_per_hour,
        by_camera=by_camera,
    )
    result = replace(result, path=path, failed=tuple(failed))
    if path is not None:
        fp16 = bool(result.model.card.get("configuration", {}).get("half"))
        save_model(result.model, path, fp16=fp16)
    return result


def _configure(
    config: ConfigLike | None,
    pretrained: Model | None,
    method: str | None,
    tiles: str | None,
    regions: str | None,
    squares: int | None,
    seed: int | None,
    validation: float | Sequence[str] | None,
) -> TrainConfig:
    """The configuration that the arguments of ``train`` ask for."""
    from oddframe.training.config import CalibrationSection, TrainConfig, parse_config, read_config
    from oddframe.training.configure import config_from_model, find_config, with_method, with_parts

    if isinstance(config, TrainConfig):
        settings = config
    elif isinstance(config, Mapping):
        settings = parse_config(config)
    elif config is not None:
        settings = read_config(find_config(str(config)))
    else:
        settings = TrainConfig() if pretrained is None else config_from_model(pretrained)
    if method is not None:
        settings = with_method(settings, method)
    parts = {"tiles": tiles, "regions": regions, "squares": squares}
    given = {kind: value for kind, value in parts.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"{' and '.join(f'--{kind}' for kind in given)}: one of them")
    for kind, value in given.items():
        settings = with_parts(settings, kind, value)  # type: ignore[arg-type]  # One of the three.
    if seed is not None:
        settings = settings.with_recipe(seed=seed)
    if validation is None:
        return settings
    rate = settings.calibration.false_alarms_per_hour
    if not isinstance(validation, int | float):
        groups = (validation,) if isinstance(validation, str) else tuple(validation)
        section = CalibrationSection(groups=groups, false_alarms_per_hour=rate)
    elif 0 <= validation <= 0.5:
        section = CalibrationSection(share=validation, false_alarms_per_hour=rate)
    else:
        raise UsageError(f"validation is a share from 0 to 0.5, not {validation:g}")
    return settings.model_copy(update={"calibration": section})
