"""From labelled videos to one model file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oddframe.backbones.engines import DeviceName, EngineName, PrecisionName
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import is_ready
from oddframe.errors import InputError
from oddframe.features.spec import FeatureSpec
from oddframe.features.store.store import FeatureStore
from oddframe.methods.registry import get_method
from oddframe.modelfile import Model, load_model, save_model
from oddframe.training.audio_config import listens, with_sound
from oddframe.training.checkpoint import RunFiles
from oddframe.training.config import TrainConfig
from oddframe.training.data.features import Extractor, Gathered, Library, Progress, Request, Silent
from oddframe.training.data.splits import Split, hold_out, validation_folds, without
from oddframe.training.final import Finals, SeedRun
from oddframe.training.hyperparameter_search import Tryout
from oddframe.training.log import check_board
from oddframe.training.model_card import search_of, start_of
from oddframe.training.one_class import normal_only
from oddframe.training.pretrained import check_start, seen_before
from oddframe.training.search import Budget, Search
from oddframe.training.trainer import Trainer
from oddframe.training.validation import HeldOut, held_out_scores
from oddframe.video.mask import Masks


@dataclass(frozen=True)
class Trained:
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
    held_out: tuple[HeldOut, ...]
    search: Search | None
    seeds: tuple[SeedRun, ...]
    log: Path
    warnings: tuple[str, ...]


def train(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    store: FeatureStore,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    jobs: int = 1,
    progress: Progress | None = None,
    resume: bool = True,
    budget: Budget | None = None,
    seeds: int = 1,
    start: Model | None = None,
    board: Path | None = None,
    precision: PrecisionName = "auto",
    masks: Masks = Masks(),  # noqa: B008 - frozen
) -> Trained:
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
        start: A model of the same method and features to go on from.
        board: Folder for TensorBoard, which shows the final trainings' loss terms.
        precision: Of the backbone.
        masks: Parts of the pictures to ignore.

    Raises:
        UsageError: the configuration, ``out`` or ``start`` cannot be.
        InputError: no video of a class can be read, or one video has two labels.
        OddframeError: the training met a value that is not finite, a file cannot be written, or
            another training is at work on ``out``.
    """
    told = _Told(progress or Silent())
    files = RunFiles(out)
    config.chosen_method()
    if board is not None:
        check_board()
    dataset = without(dataset, config.leave_out)
    split = hold_out(dataset, config.calibration, config.recipe.seed, told.warn)
    config = _able(config, split, told)
    files.prepare()
    with files.locked():
        store.sweep()
        if not resume:
            files.forget()
        library = Library(Extractor(store, device, engine, precision, masks), jobs, told.progress)
        if start is not None or listens(config):
            spec = _spec(config, dataset, library)
            config = with_sound(config, spec.backbone)
            if start is not None:
                check_start(start, config, spec)
        library.add(_requests(config, split))
        for path, reason in library.failed.items():
            told.warn(f"left out: {reason}" if path in reason else f"left out: {path}: {reason}")
        training = library.of(split.training.videos)
        held_out = library.of(split.held_out.videos)
        _check_readable(config, training, held_out, library.failed)
        trainer = Trainer(library, device, start, out.stem)
        about = {} if start is None else start_of(start)
        if start is not None:
            choosing = budget is not None or seeds > 1
            for line in seen_before(start, training, held_out, choosing=choosing):
                told.warn(line)
        search = None
        if budget is not None:
            search = _searched(trainer, config, training, budget, seeds, files, told)
        if search is not None:
            config, about = search.chosen.of(config), about | search_of(search)
            library.add(_requests(config, split))
            training = library.of(split.training.videos)
        finals = Finals(
            trainer,
            config,
            training,
            held_out,
            about,
            dataset.name,
            files,
            told.progress,
            told.warn,
            board,
        )
        runs: tuple[SeedRun, ...] = ()
        if seeds > 1 and get_method(config.method.name).from_normal_alone:
            told.warn(
                "one training instead of several seeds: normal videos do not say which one is best"
            )
            seeds = 1
        if seeds > 1:
            model, runs = finals.best_of(seeds)
        else:
            model = finals.one()
        save_model(model, out, half=config.half)
        files.forget()
    model = load_model(out)
    log = next((files.log(run.seed) for run in runs if run.kept), files.log())
    tracks = held_out_scores(model, config, held_out)
    return Trained(model, config, tracks, search, runs, log, tuple(told.warnings))


class _Told:
    """Passes on progress and warnings, and collects the warnings."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.warnings: list[str] = []

    def warn(self, line: str) -> None:
        self.warnings.append(line)
        self.progress.say(line)


def _able(config: TrainConfig, split: Split, told: _Told) -> TrainConfig:
    """``config`` with a method that can learn from what there is."""
    method = config.chosen_method()[0]
    if split.training.abnormal.any() or method.from_normal_alone or method.without_labels:
        return config
    config = normal_only(config)
    told.warn(
        f"{split.training.name}: only normal videos to learn from, so this becomes a detector of "
        "what is unusual for these cameras, by its distance to what is normal; add videos in which "
        f"something happens, beside the normal ones, and train again: {method.title} then learns "
        "what to look for"
    )
    return config


def _spec(config: TrainConfig, dataset: Dataset, library: Library) -> FeatureSpec:
    """Before the work: only where features are ready-made does a file say what they are."""
    made = next((video for video in dataset.videos if is_ready(video)), None)
    if made is not None:
        library.add([Request(made, (config.features,))])
    return library.spec(config.features)


def _requests(config: TrainConfig, split: Split) -> list[Request]:
    views, profiles = tuple(config.training_views().values()), tuple(config.profiles().values())
    requests = [Request(video, profiles) for video in split.held_out.videos]
    for video in split.training.videos:
        # Without held-out videos the threshold is set on the normal ones of training.
        scored = () if len(split.held_out) or video.abnormal else profiles
        requests.append(Request(video, (*views, *scored)))
    return requests


def _check_readable(
    config: TrainConfig,
    training: Sequence[Gathered],
    held_out: Sequence[Gathered],
    failed: dict[str, str],
) -> None:
    needed = {False: "normal", True: "abnormal"}
    method = config.chosen_method()[0]
    if method.from_normal_alone or method.without_labels:
        del needed[True]
    for abnormal, name in needed.items():
        if not any(each.video.abnormal == abnormal for each in training):
            why = f"; {len(failed)} could not be read" if failed else ""
            raise InputError(f"no {name} videos to train on{why}")
    first: dict[str, Gathered] = {}
    for each in (*training, *held_out):
        other = first.setdefault(each.sha256, each)
        if other.video.abnormal != each.video.abnormal:
            raise InputError(
                f"{other.video.path} and {each.video.path} are the same video, once "
                f"'{other.video.label}' and once '{each.video.label}'"
            )


def _searched(
    trainer: Trainer,
    config: TrainConfig,
    training: Sequence[Gathered],
    budget: Budget,
    seeds: int,
    files: RunFiles,
    told: _Told,
) -> Search | None:
    if get_method(config.method.name).from_normal_alone:
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
    return Tryout(trainer, config, training, folds, budget, seeds, files, told.progress).search()
