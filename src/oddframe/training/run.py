"""From labelled videos to one model file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from oddframe.backbones.engines import DeviceName, EngineName
from oddframe.datasets.folds import grouped_folds
from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.spec import Features
from oddframe.features.store import FeatureStore
from oddframe.modelfile import Model, Profile, load_model, save_model
from oddframe.training.bags import TrainingVideo
from oddframe.training.config import FeatureSection, TrainConfig
from oddframe.training.gather import (
    Extractor,
    Gathered,
    Progress,
    Request,
    Silent,
    gather,
    training_video,
)
from oddframe.training.heldout import Scored, figures, normal_tracks, threshold
from oddframe.training.loop import fit

# One alarm in three times the looked-at hours cannot be told from none.
_HOURS_A_WISH = 3.0


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
) -> Model:
    """Train a detector on labelled videos and write it to ``out``.

    Features are extracted first and kept in ``store``: a second run starts at once. Some groups are
    kept from training; on them the threshold is set and the figures in the card are measured.
    Beside ``out`` lie ``<name>.log.jsonl``, every step's loss terms, and while training lasts
    ``<name>.checkpoint.safetensors``, from which an interrupted run goes on.

    Args:
        dataset: Labelled videos.
        config: What to train.
        out: The model file, ``*.safetensors``.
        store: Where features are kept.
        device: Where the backbone and the training run.
        engine: What the backbone runs on.
        jobs: Videos that are decoded side by side.
        progress: Is told what happens.
        resume: Go on from a checkpoint; otherwise one that is there is removed.

    Raises:
        UsageError: the configuration or ``out`` cannot be.
        InputError: no video of a class can be read, or one video has two labels.
        OddframeError: the training met a value that is not finite, or a file cannot be written.
    """
    progress = progress or Silent()
    checkpoint = _check_out(out, resume=resume)
    config.chosen_method()
    dataset = _without(dataset, config.leave_out)
    kept = _held_out(dataset, config, progress)
    extractor = Extractor(store, device, engine)
    requests = _requests(dataset, config, kept)
    gathered, failed = gather(requests, extractor, jobs, progress)
    for path, reason in failed.items():
        progress.say(f"left out: {reason}" if path in reason else f"left out: {path}: {reason}")
    training = [each for each in gathered if each.video.group not in kept]
    _check_gathered(gathered, training, failed)
    fitted = fit(
        [_training_video(each, config) for each in training],
        config,
        device=_training_device(device),
        log=_beside(out, "log.jsonl"),
        checkpoint=checkpoint,
        on_step=progress.steps,
    )
    for line in fitted.warnings:
        progress.say(line)
    if config.half:  # Rounded before it is measured, so that the figures are of what is written.
        fitted.network.network.half().float()
    knows = config.knows or ", ".join(sorted({g.video.label for g in gathered if g.video.abnormal}))
    model = Model(
        name=out.stem,
        method=config.method.name,
        config=config.chosen_method()[1],
        network=fitted.network.cpu(),
        profiles={
            name: Profile(extractor.spec(section), config.events.rule(0.5))
            for name, section in config.profiles().items()
        },
        knows=knows,
        training_data=_digest(training),
        card=_card(dataset, config, kept, gathered, failed),
    )
    save_model(_measured(model, config, gathered, kept, progress), out, half=config.half)
    return load_model(out)


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}.{ending}")


def _check_out(out: Path, *, resume: bool) -> Path:
    if out.suffix != ".safetensors":
        raise UsageError(f"{out}: a model file ends in .safetensors")
    checkpoint = _beside(out, "checkpoint.safetensors")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            checkpoint.unlink(missing_ok=True)
    except OSError as error:
        raise OddframeError(f"{out}: cannot be written ({error.strerror or error})") from None
    if not os.access(out.parent, os.W_OK):
        raise OddframeError(f"{out}: cannot be written, no permission in {out.parent}")
    return checkpoint


def _without(dataset: Dataset, groups: tuple[str, ...]) -> Dataset:
    """The data set without the videos of ``groups``."""
    if unknown := sorted(set(groups) - set(dataset.groups)):
        raise UsageError(f"leave_out: {dataset.name} has no group {unknown[0]}")
    return replace(dataset, videos=tuple(v for v in dataset.videos if v.group not in groups))


def _held_out(dataset: Dataset, config: TrainConfig, progress: Progress) -> frozenset[str]:
    """Groups that training does not see."""
    wanted = config.calibration
    if wanted.groups:
        if unknown := sorted(set(wanted.groups) - set(dataset.groups)):
            raise UsageError(f"calibration.groups: {dataset.name} has no group {unknown[0]}")
        return frozenset(wanted.groups)
    if wanted.share == 0:
        return frozenset()
    try:
        fold = grouped_folds(dataset, max(2, round(1 / wanted.share)), config.recipe.seed)[0]
    except UsageError:
        progress.say(
            f"{dataset.name}: too few groups ({len(dataset.groups)}) to keep some from training: "
            "no figures, and the threshold is set on training videos, so it may be too low"
        )
        return frozenset()
    return frozenset(dataset.videos[int(i)].group for i in fold.test)


def _requests(dataset: Dataset, config: TrainConfig, kept: frozenset[str]) -> list[Request]:
    views, profiles = tuple(config.training_views().values()), tuple(config.profiles().values())
    requests = []
    for video in dataset.videos:
        scored = video.group in kept or not (kept or video.abnormal)
        sections = (*(views if video.group not in kept else ()), *(profiles if scored else ()))
        requests.append(Request(video, sections))
    return requests


def _check_gathered(
    gathered: Sequence[Gathered], training: Sequence[Gathered], failed: dict[str, str]
) -> None:
    for abnormal, name in ((False, "normal"), (True, "abnormal")):
        if not any(each.video.abnormal == abnormal for each in training):
            why = f"; {len(failed)} could not be read" if failed else ""
            raise InputError(f"no {name} videos to train on{why}")
    first: dict[str, Gathered] = {}
    for each in gathered:
        other = first.setdefault(each.sha256, each)
        if other.video.abnormal != each.video.abnormal:
            raise InputError(
                f"{other.video.path} and {each.video.path} are the same video, once "
                f"'{other.video.label}' and once '{each.video.label}'"
            )


def _training_video(each: Gathered, config: TrainConfig) -> TrainingVideo:
    return training_video(
        [each.features[section] for section in config.training_views().values()],
        each.video.abnormal,
    )


def _training_device(device: DeviceName) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def _digest(training: Sequence[Gathered]) -> str:
    lines = sorted(f"{each.sha256} {each.video.label}\n" for each in training)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _card(
    dataset: Dataset,
    config: TrainConfig,
    kept: frozenset[str],
    gathered: Sequence[Gathered],
    failed: dict[str, str],
) -> dict[str, Any]:
    training = [each.video for each in gathered if each.video.group not in kept]
    return {
        "data": dataset.name,
        "training_videos": {
            "normal": sum(not video.abnormal for video in training),
            "abnormal": sum(video.abnormal for video in training),
        },
        "left_out_groups": list(config.leave_out),
        "held_out_groups": sorted(kept),
        "held_out_videos": len(gathered) - len(training),
        # Names only: a model that is handed on should not tell where its maker keeps videos.
        "left_out": {Path(p).name: why.replace(p, Path(p).name) for p, why in failed.items()},
        "limits": config.limits,
        "configuration": config.model_dump(mode="json"),
    }


def _measured(
    model: Model,
    config: TrainConfig,
    gathered: Sequence[Gathered],
    kept: frozenset[str],
    progress: Progress,
) -> Model:
    """The model with a threshold in each profile, and the figures of ``best``."""
    profiles: dict[str, Profile] = {}
    metrics: dict[str, float] = {}
    card = dict(model.card)
    for name, section in config.profiles().items():
        videos = _scored(gathered, section, kept)
        at = config.events.threshold
        if at is None:
            tracks = normal_tracks(model, videos, config.bags)
            if not tracks:
                raise InputError("no normal videos are held out: no threshold can be set on them")
            wish = config.calibration.false_alarms_per_hour
            found = threshold(tracks, config.events, wish)
            at = found.threshold
            if name == "best" and wish * found.hours < _HOURS_A_WISH:
                progress.say(
                    f"the threshold stands on {found.hours * 60:.1f} minutes of normal video, too "
                    f"little to promise {wish:g} false alarms an hour: calibrate on more of it"
                )
            card[f"threshold_{name}"] = {
                "normal_minutes": found.hours * 60,
                "false_alarms": found.false_alarms,
                "on": "held-out groups" if kept else "training videos",
            }
        profiles[name] = replace(model.profiles[name], rule=config.events.rule(at))
        if kept:
            prefix = "" if name == "best" else f"{name}_"
            values = figures(model, videos, config.bags, at, config.recipe.seed)
            metrics |= {prefix + key: value for key, value in values.items()}
    return replace(model, profiles=profiles, metrics=metrics, card=card)


def _scored(
    gathered: Sequence[Gathered], section: FeatureSection, kept: frozenset[str]
) -> list[Scored]:
    def features(each: Gathered) -> Features | None:
        return each.features.get(section)

    chosen = [each for each in gathered if not kept or each.video.group in kept]
    return [
        Scored(found, each.video.abnormal)
        for each in chosen
        if (found := features(each)) is not None and (kept or not each.video.abnormal)
    ]
