"""Train a detector on labelled videos and write it as one model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    stage_progress,
)
from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import InputError, UsageError
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.store import FeatureStore
from oddframe.methods.base import CLICK_WEIGHT
from oddframe.modelfile import Model, load_model, save_model
from oddframe.prototypes import MAX_PROTOTYPES
from oddframe.timeline import ScoreTrack
from oddframe.training.config import TrainConfig
from oddframe.training.configure import with_one_class_method, with_required_audio_dim
from oddframe.training.correction import ENOUGH_VIDEOS
from oddframe.training.data.features import Extractor, FeatureCache, FeatureRequest, VideoFeatures
from oddframe.training.data.splits import TrainingSplit, drop_groups, hold_out, validation_folds
from oddframe.training.prototype_bank import make_bank
from oddframe.training.run_files import RunFiles, require_tensorboard
from oddframe.training.search import Budget, HyperparameterSearch, SearchResult
from oddframe.training.trainer import FinalTraining, ModelTrainer, SeedRun
from oddframe.video.mask import Masks


@dataclass(frozen=True)
class TrainedModel:
    """A model that was trained and written, and how it came about.

    Attributes:
        config: The configuration it was trained with, including the setting that was chosen.
        held_out: The held-out videos with the model's scores.
        seeds: One entry a training where several seeds were trained.
        log: File with the loss terms of every step of the training that was kept.
        warnings: What a reader of the metrics should know.
    """

    model: Model
    config: TrainConfig
    held_out: tuple[tuple[LabelledVideo, ScoreTrack], ...]
    search: SearchResult | None
    seeds: tuple[SeedRun, ...]
    log: Path
    warnings: tuple[str, ...]


def run_training(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    store: FeatureStore,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    jobs: int = 1,
    progress: ProgressCallback | None = None,
    message: MessageCallback = ignore_message,
    resume: bool = True,
    budget: Budget | None = None,
    seeds: int = 1,
    pretrained: Model | None = None,
    tensorboard: Path | None = None,
    precision: PrecisionName = "auto",
    masks: Masks = Masks(),  # noqa: B008 - frozen
    pictures: bool = False,
) -> TrainedModel:
    """Train a detector on labelled videos and write it to ``out``, a ``*.safetensors`` file.

    Features are extracted first and stored, so that a second run starts at once. Some groups are
    held out: they set the threshold and give the metrics in the card, and nothing else is ever
    chosen by them. Within a budget, settings are chosen on folds of the other groups. Where there
    are only normal videos to train on, a one-class method is trained.

    Beside ``out`` lie ``<name>.log.jsonl`` with every step's loss terms and, until the run is done,
    ``<name>.training/``, from which an interrupted run resumes, and ``<name>.lock``. The errors are
    those of ``oddframe.train``.

    Args:
        progress: Called after each video, in the stage ``features``, and after each step, in the
            stage ``training``.
        resume: Resume an interrupted run; otherwise delete what it left.
        budget: Whatever time remains after the features are loaded is for the search and the final
            trainings.
        seeds: Number of final trainings, with seeds from the configured one up.
        pretrained: A model of the same method and features whose weights training starts from. With
            few videos it is corrected instead (``training/correction.py``).
        pictures: Give the model file small pictures of its prototypes.
    """
    warnings: list[str] = []

    def warn(line: str) -> None:
        warnings.append(line)
        message(line)

    files = RunFiles(out)
    config.chosen_method()
    if tensorboard is not None:
        require_tensorboard()
    dataset = drop_groups(dataset, config.leave_out)
    split = hold_out(dataset, config.calibration, config.recipe.seed, warn)
    config = _with_trainable_method(config, split, warn)
    files.make_folder()
    with files.locked():
        store.sweep()
        if not resume:
            files.remove_progress()
        features = FeatureCache(
            Extractor(store, device, engine, precision, masks),
            jobs,
            stage_progress(progress, "features"),
            message,
        )
        if pretrained is not None or config.chosen_method()[0].reads_sound:
            spec = _feature_spec(config, dataset, features)
            config = with_required_audio_dim(config, spec.backbone)
            if pretrained is not None:
                check_pretrained(pretrained, config, spec)
        features.add(_feature_requests(config, split))
        for path, reason in features.failed.items():
            warn(f"left out: {reason}" if path in reason else f"left out: {path}: {reason}")
        training = features.get(split.training.videos)
        held_out = features.get(split.held_out.videos)
        _check_readable(config, training, held_out, features.failed)
        method, method_config = config.chosen_method()
        method.check_backbone(features.spec(config.features).backbone, method_config)
        step_progress = stage_progress(progress, "training")
        trainer = ModelTrainer(features, device, pretrained, files, step_progress)
        card_entries: dict[str, Any] = {}
        if pretrained is not None:
            card_entries = {"started_from": {"name": pretrained.name, "sha256": pretrained.sha256}}
            choosing = budget is not None or seeds > 1
            for line in _overlap_warnings(pretrained, training, held_out, choosing=choosing):
                warn(line)
        corrected = trainer.corrects(config, training)
        if corrected:
            warn(_describe_correction(config, training, card_entries["started_from"]["name"]))
        _report_time_labels(config, training, message, warn, corrected=corrected)
        search = None
        if budget is not None and corrected:
            warn("nothing to search: a correction has no settings")
        elif budget is not None and method.one_class:
            warn("nothing to search: normal videos alone do not say which settings are best")
        elif budget is not None:
            videos = Dataset("training", tuple(each.video for each in training))
            if folds := validation_folds(videos, config.search.folds, config.recipe.seed):
                search = HyperparameterSearch(
                    trainer, config, training, folds, budget, seeds, message
                ).search()
                config = search.chosen.apply_to(config)
                card_entries |= search.card_entry()
                features.add(_feature_requests(config, split))
                training = features.get(split.training.videos)
            else:
                warn(
                    f"no search: {len(videos.groups)} groups to learn from are too few to choose "
                    "on; training as configured"
                )
        if seeds > 1 and (corrected or method.one_class):
            why = "a correction is the same from any seed"
            if not corrected:
                why = "normal videos do not say which one is best"
            warn(f"one training instead of several seeds: {why}")
            seeds = 1
        final = FinalTraining(
            trainer, config, training, held_out, card_entries, dataset.name, warn, tensorboard
        )
        runs: tuple[SeedRun, ...] = ()
        if seeds > 1:
            model, runs = final.train_seeds(seeds)
        else:
            model = final.train_one()
        bank = make_bank(
            model,
            config,
            training,
            pictures_of=lambda _: pictures,
            masks=masks,
            progress=step_progress,
            most=MAX_PROTOTYPES // 2 if corrected else MAX_PROTOTYPES,
        )
        if corrected and pretrained is not None and pretrained.prototypes is not None:
            kept = pretrained.prototypes.thinned(MAX_PROTOTYPES // 2)
            bank = kept if bank is None else kept.with_more(bank)
        save_model(replace(model, prototypes=bank), out, fp16=config.fp16, head=True)
        files.remove_progress()
    model = load_model(out)
    log = next((files.log(run.seed) for run in runs if run.kept), files.log())
    scores = tuple((each.video, model.score(each.features[config.features])) for each in held_out)
    return TrainedModel(model, config, scores, search, runs, log, tuple(warnings))


def _describe_correction(config: TrainConfig, training: Sequence[VideoFeatures], name: str) -> str:
    abnormal = sum(each.video.abnormal for each in training)
    line = (
        f"the model '{name}' stays as it is, with a small correction of its scores from {abnormal} "
        f"abnormal and {len(training) - abnormal} normal videos"
    )
    if config.chosen_method()[0].closed_form:
        return line
    return (
        f"{line}; all its weights are trained from {ENOUGH_VIDEOS} of each, or with "
        "'correction: never' in the configuration"
    )


def _report_time_labels(
    config: TrainConfig,
    training: Sequence[VideoFeatures],
    message: MessageCallback,
    warn: MessageCallback,
    *,
    corrected: bool,
) -> None:
    """Say how many labels in time training uses; InputError if one lies outside its video."""
    clicks = rejected = clicked = 0
    for each in training:
        timebase = next(iter(each.features.values())).timebase
        labels = each.video.time_labels.seconds(timebase.fps, timebase.start_s)
        if outside := labels.find_outside(timebase.start_s, timebase.end_s):
            raise InputError(f"{each.video.path}: {outside}")
        clicks, rejected = clicks + len(labels.clicks), rejected + len(labels.rejected)
        clicked += bool(labels.clicks)
    if not clicks and not rejected:
        return
    counts = f"{clicks} clicks in {clicked} of {sum(each.video.abnormal for each in training)} "
    counts += f"abnormal videos, {rejected} rejected times"
    if corrected:
        warn(f"not used: {counts}; a correction reads labels of whole videos")
    elif config.learns_from_times():
        message(f"labels in time: {counts} ('clicks: {{weight: 0}}' leaves them out)")
    elif config.clicks.weight != 0:
        method = config.chosen_method()[0]
        reason = f"{method.title} is not trained on them"
        if not method.click_weight:
            reason = (
                f"they made the scores of {method.title} worse where this was measured; to use "
                f"them, set 'clicks: {{weight: {CLICK_WEIGHT:g}}}'"
            )
        warn(f"not used: {counts}; {reason}")


def _with_trainable_method(
    config: TrainConfig, split: TrainingSplit, warn: MessageCallback
) -> TrainConfig:
    """``config``, with a one-class method where its own lacks abnormal videos."""
    method = config.chosen_method()[0]
    if split.training.abnormal.any() or not method.needs_abnormal_videos:
        return config
    warn(
        f"{split.training.name}: only normal videos to learn from, so this becomes a detector of "
        "what is unusual for these cameras, by its distance to what is normal; add videos in which "
        f"something happens, beside the normal ones, and train again: {method.title} then learns "
        "what to look for"
    )
    return with_one_class_method(config)


def _feature_spec(config: TrainConfig, dataset: Dataset, features: FeatureCache) -> FeatureSpec:
    """The spec of the features, known before any is loaded unless they are precomputed."""
    precomputed = next((v for v in dataset.videos if has_precomputed_features(v)), None)
    if precomputed is not None:
        features.add([FeatureRequest(precomputed, (config.features,))])
    return features.spec(config.features)


def _feature_requests(config: TrainConfig, split: TrainingSplit) -> list[FeatureRequest]:
    views, profiles = tuple(config.training_views().values()), tuple(config.profiles().values())
    requests = [FeatureRequest(video, profiles) for video in split.held_out.videos]
    for video in split.training.videos:
        # Without held-out videos the threshold is set on the normal training videos.
        scored = () if len(split.held_out) or video.abnormal else profiles
        requests.append(FeatureRequest(video, (*views, *scored)))
    return requests


def _check_readable(
    config: TrainConfig,
    training: Sequence[VideoFeatures],
    held_out: Sequence[VideoFeatures],
    failed: dict[str, str],
) -> None:
    """Refuse data without readable videos of a class, or with one video under two labels."""
    classes = {False: "normal"}
    if config.chosen_method()[0].needs_abnormal_videos:
        classes[True] = "abnormal"
    for abnormal, name in classes.items():
        if not any(each.video.abnormal == abnormal for each in training):
            why = f"; {len(failed)} could not be read" if failed else ""
            raise InputError(f"no {name} videos to train on{why}")
    first: dict[str, VideoFeatures] = {}
    for each in (*training, *held_out):
        other = first.setdefault(each.sha256, each)
        if other.video.abnormal != each.video.abnormal:
            raise InputError(
                f"{other.video.path} and {each.video.path} are the same video, once "
                f"'{other.video.label}' and once '{each.video.label}'"
            )


def check_pretrained(pretrained: Model, config: TrainConfig, spec: FeatureSpec) -> None:
    """Check that a model has the method and features of a training; UsageError if not."""
    method, method_config = config.chosen_method()
    if method.one_class:
        raise UsageError(
            f"{method.title} learns from normal videos alone and cannot start from a model; "
            "starting from one also needs abnormal videos"
        )
    if pretrained.method != config.method.name:
        lines = [f"method: {pretrained.method}, not {config.method.name}"]
    else:
        values, others = with_defaults(pretrained.config), with_defaults(method_config)
        lines = [f"{k}: {v}, not {others[k]}" for k, v in values.items() if v != others[k]]
    lines += pretrained.profiles["best"].spec.differences(spec)
    if lines:
        raise UsageError(
            f"training cannot start from the model '{pretrained.name}', which is configured "
            f"otherwise: {'; '.join(lines)}"
        )


def with_defaults(config: BaseModel) -> dict[str, Any]:
    """``model_dump`` with those fields, too, that it leaves out at their defaults."""
    fields = type(config).model_fields
    return {n: f.default for n, f in fields.items() if f.exclude_if} | config.model_dump()


def _overlap_warnings(
    pretrained: Model,
    training: Sequence[VideoFeatures],
    held_out: Sequence[VideoFeatures],
    *,
    choosing: bool,
) -> list[str]:
    """Warnings about metrics that are too good because ``pretrained`` was trained on their videos.

    ``choosing``: whether settings or seeds are chosen on groups of ``training``.
    """

    def known(videos: Sequence[VideoFeatures]) -> list[VideoFeatures]:
        flags = pretrained.learned_from([(v.video.group, v.sha256) for v in videos])
        return [video for video, is_known in zip(videos, flags, strict=True) if is_known]

    lines = []
    if overlap := known(held_out):
        lines.append(
            f"the model '{pretrained.name}' has learned from {len(overlap)} of {len(held_out)} "
            f"held-out videos or others of their groups ({overlap[0].video.path.name}): the "
            "figures are too good"
        )
    if choosing and known(training):
        lines.append(
            f"the model '{pretrained.name}' has learned from the groups that settings and "
            "seeds are chosen on: their figures are too good, and say little"
        )
    return lines
