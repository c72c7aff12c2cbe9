"""A trained model on the videos that were held out: its threshold, its figures, its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe.cameras import masks_of, shared_mask, with_masks
from oddframe.datasets.labelled import LabelledVideo
from oddframe.errors import InputError
from oddframe.modelfile import Model, Profile
from oddframe.timeline import ScoreTrack
from oddframe.training.config import TrainConfig
from oddframe.training.feature_section import FeatureSection
from oddframe.training.gather import Gathered
from oddframe.training.heldout import (
    HALF,
    Scored,
    ThresholdChoice,
    choose_threshold,
    figures,
    normal_tracks,
)

_NO_MASK: tuple[str, dict[str, str]] = ("", {})


@dataclass(frozen=True)
class HeldOut:
    """A video that a model was not trained on, and what it scores, in the profile ``best``."""

    video: LabelledVideo
    track: ScoreTrack


def measured(
    model: Model,
    config: TrainConfig,
    held_out: Sequence[Gathered],
    training: Sequence[Gathered],
    say: Callable[[str], None],
    start: Model | None = None,
) -> Model:
    """The model with a threshold in each profile, and figures on what was held out.

    ``choose_threshold`` has how the threshold is found; the line that is said is of ``best``. A
    profile's mask is that of the videos that set its threshold: the mask of ``start`` where its
    threshold stays, none where the configuration fixes it or it is one half.

    Args:
        model: Trained.
        config: What it was trained with.
        held_out: What it was not trained on; none: there are no figures, and of ``training`` the
            normal videos can only raise the threshold; where it remembers those, it is one half.
        training: What it was trained on.
        say: Called with the line that says why the threshold could not be set by the wished rate
            of false alarms, and what it is instead.
        start: The model that training went on from.

    Raises:
        InputError: there are no normal videos to set a threshold on.
    """
    profiles: dict[str, Profile] = {}
    metrics: dict[str, float] = {}
    card = dict(model.card)
    for name, section in config.profiles().items():
        videos = scored(model, held_out or [g for g in training if not g.video.abnormal], section)
        masks = shared_mask(_masks(held_out or training, section))
        at = config.events.fixed(name)
        if at is not None:
            masks = _NO_MASK
        elif not held_out and config.chosen_method()[0].from_normal_alone:
            # It remembers these videos: their own scores say nothing of other ones'. ``fit_normal``
            # sets the scale so that one normal snippet in a hundred scores above a half, so this
            # half has the mask of these videos.
            at = HALF
            card[f"threshold_{name}"] = {"on": "training videos, each not yet remembered"}
        if at is None:
            tracks = normal_tracks(model, videos, config.bags)
            if not tracks:
                raise InputError("no normal videos are held out: no threshold can be set on them")
            wish = config.calibration.false_alarms_per_hour
            found = choose_threshold(
                tracks,
                [video.track for video in videos if not video.abnormal],
                [video.track for video in videos if video.abnormal],
                config.events,
                wish,
                groups=len({each.video.group for each in held_out}),
                before=_threshold_of(start, name),
            )
            at = found.value
            if found.basis == "model":
                masks = _masks_of(start, name)
            elif found.basis == "half" and at == HALF:
                masks = _NO_MASK
            if name == "best" and found.basis != "false alarms":
                say(_reason(found, wish, start, held_out=bool(held_out)))
            card[f"threshold_{name}"] = {
                "normal_minutes": found.hours * 60,
                "false_alarms": found.false_alarms,
                "on": "held-out groups" if held_out else "training videos",
                "set_by": found.basis,
            }
        mask, by_camera = masks
        spec = replace(model.profiles[name].spec, mask=mask)
        card = with_masks(card, name, by_camera)
        profiles[name] = Profile(spec, config.events.rule(at))
        if held_out:
            prefix = "" if name == "best" else f"{name}_"
            values = figures(model, videos, config.bags, at, config.recipe.seed)
            metrics |= {prefix + key: value for key, value in values.items()}
    return replace(model, profiles=profiles, metrics=metrics, card=card)


def _masks(videos: Sequence[Gathered], section: FeatureSection) -> Iterator[tuple[Path, str]]:
    for each in videos:
        if section in each.features:
            yield each.video.path, each.features[section].spec.mask


def _masks_of(start: Model | None, profile: str) -> tuple[str, dict[str, str]]:
    """The mask that a profile's threshold was set with, and each camera's where they differ."""
    if start is None:
        return _NO_MASK
    return start.profiles[profile].spec.mask, masks_of(start.card, profile)


def _threshold_of(start: Model | None, profile: str) -> float | None:
    if start is None or profile not in start.profiles:
        return None
    return start.profiles[profile].rule.threshold


def _reason(choice: ThresholdChoice, wish: float, start: Model | None, *, held_out: bool) -> str:
    """What the threshold is, and why it is not set by the wished rate, in one line."""
    at = f"{choice.value:.3g}"
    if choice.basis == "videos":
        what = f"the threshold is {at}, where most held-out videos are right"
    elif choice.basis == "model":
        what = (
            f"the threshold stays {at}, that of the model '{'' if start is None else start.name}'"
        )
    elif choice.value == HALF:
        what = "the threshold is one half"
    else:
        what = f"the threshold is {at}, above one half because normal video scores higher"
    if not held_out:
        return f"{what}: no video is held out to set it on; calibrate on normal video"
    return (
        f"{what}: held out are {choice.hours * 60:.1f} minutes of normal video, too little to "
        f"promise {wish:g} false alarms an hour; calibrate on more of it"
    )


def figure_of_choice(config: TrainConfig) -> str:
    """Name of what settings and seeds are chosen by: of frames where clips are joined, of whole
    videos elsewhere. Either takes nothing but the videos' labels."""
    return "frame_auc" if config.bags.mode == "joined" else "video_auc"


def validated(model: Model, config: TrainConfig, videos: Sequence[Gathered]) -> float:
    """The figure of choice on validation videos of both classes, by the features of training."""
    judged = scored(model, videos, config.training_features.of(config.features))
    return figures(model, judged, config.bags, 0.5, config.recipe.seed)[figure_of_choice(config)]


def scored(model: Model, videos: Sequence[Gathered], section: FeatureSection) -> list[Scored]:
    """Features of ``section`` with the videos' labels and the model's scores."""
    return [Scored(model, each.features[section], each.video.abnormal) for each in videos]


def held_out_scores(
    model: Model, config: TrainConfig, held_out: Sequence[Gathered]
) -> tuple[HeldOut, ...]:
    """What the model scores on each video that was held out."""
    return tuple(
        HeldOut(each.video, model.score(each.features[config.features])) for each in held_out
    )
