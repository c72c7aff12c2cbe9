"""From labelled videos to one model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import InputError
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.store import FeatureStore
from oddframe.methods.registry import get_method
from oddframe.modelfile import Model, load_model, save_model
from oddframe.training.audio_config import uses_audio, with_required_audio_dim
from oddframe.training.checkpoint import RunFiles
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import (
    Extractor,
    FeatureCache,
    FeatureRequest,
    SilentProgress,
    TrainingProgress,
    VideoFeatures,
)
from oddframe.training.data.splits import TrainingSplit, drop_groups, hold_out, validation_folds
from oddframe.training.final import FinalTraining, SeedRun
from oddframe.training.hyperparameter_search import HyperparameterSearch
from oddframe.training.log import require_tensorboard
from oddframe.training.model_card import pretrained_entry, search_entry
from oddframe.training.one_class import with_one_class_method
from oddframe.training.pretrained import check_pretrained, overlap_warnings
from oddframe.training.search import Budget, SearchResult
from oddframe.training.trainer import ModelTrainer
from oddframe.training.validation import HeldOutScores, held_out_scores
from oddframe.video.mask import Masks


@dataclass(frozen=True)
class TrainedModel:
    """What a training run gives.

    Attributes:
        model: As it was written.
        config: What it was trained with, the chosen setting included.
        held_out: Videos that it was not trained on, with their scores; empty: none were held out.
        search: What was searched; None: nothing was.
        seeds: Every training where there were several.
        log: Loss terms of every step of the one that was kept.
        warnings: What a reader of the figures should know.
    """

    model: Model
    config: TrainConfig
    held_out: tuple[HeldOutScores, ...]
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
    progress: TrainingProgress | None = None,
    resume: bool = True,
    budget: Budget | None = None,
    seeds: int = 1,
    pretrained: Model | None = None,
    tensorboard: Path | None = None,
    precision: PrecisionName = "auto",
    masks: Masks = Masks(),  # noqa: B008 - frozen
) -> TrainedModel:
    """Train a detector on labelled videos and write it to ``out``.

    Features are extracted first and kept in ``store``: a second run starts at once. Some groups are
    held out: on them the threshold is set and the figures in the card are measured, and nothing
    else is ever chosen by them. Within a budget, settings are chosen on folds of the other groups.
    Where there are only normal videos to learn from, a detector of the unusual is built.

    Beside ``out`` lie ``<name>.log.jsonl``, every step's loss terms, and until it is done
    ``<name>.training/``, from which an interrupted run goes on, and ``<name>.lock``.

    Args:
        dataset: Labelled videos.
        config: What to train.
        out: The model file, ``*.safetensors``.
        store: Where features are kept.
        device: Where the backbone and the training run.
        engine: What the backbone runs on.
        jobs: Videos that are decoded side by side.
        progress: Is told what happens.
        resume: Go on from what an interrupted run left; otherwise it is removed.
        budget: Search the configuration's grid; what is left of it when the features are there is
            for the search and the final trainings.
        seeds: Final trainings, with seeds from the configured one up.
        pretrained: A model of the same method and features to go on from.
        tensorboard: Folder for TensorBoard, which shows the final trainings' loss terms.
        precision: Of the backbone.
        masks: Parts of the pictures to ignore.

    Raises:
        UsageError: the configuration, ``out`` or ``start`` cannot be.
        InputError: no video of a class can be read, or one video has two labels.
        OddframeError: the training met a value that is not finite, a file cannot be written, or
            another training is at work on ``out``.
    """
    told = _Told(progress or SilentProgress())
    files = RunFiles(out)
    config.chosen_method()
    if tensorboard is not None:
        require_tensorboard()
    dataset = drop_groups(dataset, config.leave_out)
    split = hold_out(dataset, config.calibration, config.recipe.seed, told.warn)
    config = _with_trainable_method(config, split, told)
    files.make_folder()
    with files.locked():
        store.sweep()
        if not resume:
            files.remove_progress()
        library = FeatureCache(
            Extractor(store, device, engine, precision, masks), jobs, told.progress
        )
        if pretrained is not None or uses_audio(config):
            spec = _feature_spec(config, dataset, library)
            config = with_required_audio_dim(config, spec.backbone)
            if pretrained is not None:
                check_pretrained(pretrained, config, spec)
        library.add(_feature_requests(config, split))
        for path, reason in library.failed.items():
            told.warn(f"left out: {reason}" if path in reason else f"left out: {path}: {reason}")
        training = library.of(split.training.videos)
        held_out = library.of(split.held_out.videos)
        _check_readable(config, training, held_out, library.failed)
        trainer = ModelTrainer(library, device, pretrained, out.stem)
        about = {} if pretrained is None else pretrained_entry(pretrained)
        if pretrained is not None:
            choosing = budget is not None or seeds > 1
            for line in overlap_warnings(pretrained, training, held_out, choosing=choosing):
                told.warn(line)
        search = None
        if budget is not None:
            search = _search_settings(trainer, config, training, budget, seeds, files, told)
        if search is not None:
            config, about = search.chosen.of(config), about | search_entry(search)
            library.add(_feature_requests(config, split))
            training = library.of(split.training.videos)
        finals = FinalTraining(
            trainer,
            config,
            training,
            held_out,
            about,
            dataset.name,
            files,
            told.progress,
            told.warn,
            tensorboard,
        )
        runs: tuple[SeedRun, ...] = ()
        if seeds > 1 and get_method(config.method.name).one_class:
            told.warn(
                "one training instead of several seeds: normal videos do not say which one is best"
            )
            seeds = 1
        if seeds > 1:
            model, runs = finals.train_seeds(seeds)
        else:
            model = finals.one()
        save_model(model, out, fp16=config.half)
        files.remove_progress()
    model = load_model(out)
    log = next((files.log(run.seed) for run in runs if run.kept), files.log())
    tracks = held_out_scores(model, config, held_out)
    return TrainedModel(model, config, tracks, search, runs, log, tuple(told.warnings))


class _Told:
    """Passes on progress and warnings, and collects the warnings."""

    def __init__(self, progress: TrainingProgress):
        self.progress = progress
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)
        self.progress.say(line)


def _with_trainable_method(config: TrainConfig, split: TrainingSplit, told: _Told) -> TrainConfig:
    """``config`` with a method that can learn from what there is."""
    method = config.chosen_method()[0]
    if split.training.abnormal.any() or method.one_class or method.unsupervised:
        return config
    config = with_one_class_method(config)
    told.warn(
        f"{split.training.name}: only normal videos to learn from, so this becomes a detector of "
        "what is unusual for these cameras, by its distance to what is normal; add videos in which "
        f"something happens, beside the normal ones, and train again: {method.title} then learns "
        "what to look for"
    )
    return config


def _feature_spec(
    config: TrainConfig, dataset: Dataset, feature_cache: FeatureCache
) -> FeatureSpec:
    """Before the work: only where features are ready-made does a file say what they are."""
    made = next((video for video in dataset.videos if has_precomputed_features(video)), None)
    if made is not None:
        feature_cache.add([FeatureRequest(made, (config.features,))])
    return feature_cache.spec(config.features)


def _feature_requests(config: TrainConfig, split: TrainingSplit) -> list[FeatureRequest]:
    views, profiles = tuple(config.training_views().values()), tuple(config.profiles().values())
    requests = [FeatureRequest(video, profiles) for video in split.held_out.videos]
    for video in split.training.videos:
        # Without held-out videos the threshold is set on the normal ones of training.
        scored = () if len(split.held_out) or video.abnormal else profiles
        requests.append(FeatureRequest(video, (*views, *scored)))
    return requests


def _check_readable(
    config: TrainConfig,
    training: Sequence[VideoFeatures],
    held_out: Sequence[VideoFeatures],
    failed: dict[str, str],
) -> None:
    needed = {False: "normal", True: "abnormal"}
    method = config.chosen_method()[0]
    if method.one_class or method.unsupervised:
        del needed[True]
    for abnormal, name in needed.items():
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


def _search_settings(
    trainer: ModelTrainer,
    config: TrainConfig,
    training: Sequence[VideoFeatures],
    budget: Budget,
    seeds: int,
    files: RunFiles,
    told: _Told,
) -> SearchResult | None:
    if get_method(config.method.name).one_class:
        told.warn("nothing to search: normal videos alone do not say which settings are best")
        return None
    dataset = Dataset("training", tuple(each.video for each in training))
    folds = validation_folds(dataset, config.search.folds, config.recipe.seed)
    if not folds:
        told.warn(
            f"no search: {len(dataset.groups)} groups to learn from are too few to choose on; "
            "training as configured"
        )
        return None
    return HyperparameterSearch(
        trainer, config, training, folds, budget, seeds, files, told.progress
    ).search()
