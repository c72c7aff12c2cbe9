"""A trained model on the videos that were held out: its threshold, its figures, its scores.

What a model does on videos that it was not trained on: figures, and the threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.cameras import masks_by_camera, summarize_masks, with_masks
from oddframe.datasets.labelled import LabelledVideo
from oddframe.errors import InputError
from oddframe.events import (
    Calibration,
    calibrate_threshold,
    find_events,
    hours_needed,
    smooth_frame_scores,
)
from oddframe.features.spec import Features
from oddframe.metrics import LabelledScores, accuracy, frame_metrics, roc_auc
from oddframe.modelfile import Model, Profile
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.training.config import BagSection, EventSection, FeatureSection, TrainConfig
from oddframe.training.data.features import VideoFeatures
from oddframe.training.data.samplers import ClipJoiner

# Joined videos of either kind that the figures stand on: enough that drawing others hardly matters.
N_JOINED = 40
# Held-out videos of either class, and groups that they are of, from which on a threshold may stand
# on which videos it gets right.
MIN_VIDEOS, MIN_GROUPS = 10, 3
# Where nothing better can be said: training scales scores so that they lie on either side of it.
HALF = 0.5


@dataclass(frozen=True)
class ScoredFeatures:
    """Features of one video whose label is known, and what a model scores them."""

    model: Model
    features: Features
    abnormal: bool

    @cached_property
    def track(self) -> ScoreTrack:
        """Its scores, made when they are first asked for."""
        return self.model.score(self.features)


def join_in_time(parts: Sequence[Features]) -> tuple[Features, NDArray[np.int64]]:
    """Several videos in a row as one, and (n_frames,) the part that each frame is of.

    A frame of the joined video is a tick: it has no pictures of its own between the snippets.

    Raises:
        InputError: the parts are of different specs.
    """
    spec = parts[0].spec
    if any(part.spec != spec for part in parts):
        raise InputError("videos with features of different specs cannot be joined")
    lengths = [part.timebase.n_snippets for part in parts]
    reach = max(spec.snippet_frames, spec.stride)
    n_frames = (sum(lengths) - 1) * spec.stride + reach
    fps = spec.rate or parts[0].timebase.fps
    owner = np.repeat(np.arange(len(parts)), lengths)
    snippets = np.minimum(np.arange(n_frames) // spec.stride, len(owner) - 1)
    array = np.concatenate([part.array for part in parts], axis=1)
    timebase = Timebase(fps, n_frames, spec.snippet_frames, spec.stride, spec.rate)
    return Features(array, spec, timebase), owner[snippets]


def normal_tracks(
    model: Model, videos: Sequence[ScoredFeatures], section: BagSection
) -> list[ScoreTrack]:
    """Scores of the normal videos; clips are joined as in training, each used once."""
    normal = [video for video in videos if not video.abnormal]
    if section.mode == "video":
        return [video.track for video in normal]
    size = section.clips[1]
    rows = [normal[i : i + size] for i in range(0, len(normal), size)]
    return [model.score(join_in_time([video.features for video in row])[0]) for row in rows]


def threshold_for_rate(
    normal: Sequence[ScoreTrack],
    abnormal: Sequence[ScoreTrack],
    events: EventSection,
    false_alarms_per_hour: float,
) -> Calibration:
    """The threshold for the wished false alarms an hour on ``normal``, in the middle of its gap.

    The lowest one that keeps the wish lies right at the edge of what these normal videos score, and
    the next one will score a little more. So it rises halfway to the highest score of the first
    ``abnormal`` video above it: the same videos are still found.

    Raises:
        UsageError: there are no normal tracks.
    """
    rule = events.rule(1.0)
    lowest = calibrate_threshold(normal, false_alarms_per_hour, rule)
    peaks = [float(smooth_frame_scores(track, rule.smooth_s).max()) for track in abnormal]
    above = [peak for peak in peaks if peak > lowest.threshold]
    if not above:
        return lowest
    at = rule.with_threshold((lowest.threshold + min(above)) / 2)
    left = sum(len(find_events(track, at)) for track in normal)
    return Calibration(at.threshold, left, lowest.hours)


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold and what it stands on.

    Attributes:
        value: The threshold.
        basis: ``false alarms``: it keeps the wished rate on enough held-out normal video.
            ``videos``: most held-out videos are right at it. ``model``: it is that of the model
            which training went on from. ``half``: one half, or more where normal video is quiet
            only above.
        false_alarms: Events that the normal videos give at it.
        hours: Of normal video.
    """

    value: float
    basis: Literal["false alarms", "videos", "model", "half"]
    false_alarms: int
    hours: float


def choose_threshold(
    rows: Sequence[ScoreTrack],
    normal: Sequence[ScoreTrack],
    abnormal: Sequence[ScoreTrack],
    events: EventSection,
    false_alarms_per_hour: float,
    *,
    groups: int,
    previous: float | None,
) -> ThresholdChoice:
    """The threshold of a model that was just trained, by what its held-out videos can show.

    Enough normal video for the wished rate (``hours_needed``) sets it by that rate. Less cannot:
    any
    few seconds are quiet at some low threshold, and of many short clips, picked to be hard, one may
    score above all abnormal ones. So with enough videos of both classes the threshold is where most
    of them are right; that of a model which training went on from changes only to a higher one that
    is clearly better. With a handful of videos that model's threshold stays; without such a model
    it is one half, or higher where it takes that to be quiet on them.

    Args:
        rows: What ``normal_tracks`` makes of the normal videos; false alarms are counted in it.
        normal: Scores of each normal video.
        abnormal: Scores of each abnormal one.
        events: The events' rule.
        false_alarms_per_hour: The wish.
        groups: Groups (recordings, cameras) of the held-out videos; 0: these are of training.
        previous: Threshold of the model that training went on from; none: fresh weights.

    Raises:
        UsageError: there are no normal tracks.
    """
    found = threshold_for_rate(rows, abnormal, events, false_alarms_per_hour)
    basis: Literal["false alarms", "videos", "model", "half"]
    if groups and found.hours >= hours_needed(false_alarms_per_hour):
        return ThresholdChoice(found.threshold, "false alarms", found.false_alarms, found.hours)
    if groups >= MIN_GROUPS and min(len(normal), len(abnormal)) >= MIN_VIDEOS:
        value = _threshold_by_videos(normal, abnormal, events, previous)
        basis = "model" if value == previous else "videos"
    elif previous is not None:
        value, basis = previous, "model"
    else:
        value, basis = max(HALF, found.threshold), "half"
    left = sum(len(find_events(track, events.rule(value))) for track in rows)
    return ThresholdChoice(value, basis, left, found.hours)


def _threshold_by_videos(
    normal: Sequence[ScoreTrack],
    abnormal: Sequence[ScoreTrack],
    events: EventSection,
    previous: float | None,
) -> float:
    """The highest threshold that is as good as the best, within a standard error.

    How good is the mean of the shares of normal and abnormal videos that are right. ``before`` is a
    lower bound, and is kept if it is that good.
    """
    quiet, odd = (
        np.array([smooth_frame_scores(track, events.smooth_s).max() for track in tracks])
        for tracks in (normal, abnormal)
    )
    peaks = np.unique(np.concatenate([quiet, odd]))
    middles = (peaks[1:] + peaks[:-1]) / 2
    least = HALF if previous is None else previous
    at = np.append(least, middles if previous is None else middles[middles > previous])
    shares = np.array([[(quiet < each).mean(), (odd >= each).mean()] for each in at])
    right = shares.mean(axis=1)
    found, missed = shares[right.argmax()], 1 - shares[right.argmax()]
    error = np.sqrt((found * missed / [len(quiet), len(odd)]).sum()) / 2
    good = at[right >= right.max() - error]
    return previous if previous is not None and previous in good else float(good.max())


def compute_metrics(
    model: Model, videos: Sequence[ScoredFeatures], section: BagSection, at: float, seed: int
) -> dict[str, float]:
    """Figures in [0, 1] over ``videos``, those that are defined.

    ``video_auc`` and ``video_accuracy`` (at the threshold ``at``) take a video's highest score, or
    the mean of a clip's. For clips, ``frame_...`` are over ``N_JOINED`` normal and as many abnormal
    joined videos, a frame's label being its clip's.
    """
    labels = np.array([video.abnormal for video in videos])
    summary = np.max if section.mode == "video" else np.mean
    marks = np.array([summary(video.track.scores) for video in videos])
    found = {
        "video_auc": roc_auc(labels, marks),
        "video_accuracy": accuracy(labels, marks, at),
    }
    if section.mode == "joined" and labels.any() and not labels.all():
        joiner = ClipJoiner(labels, section, np.random.default_rng(seed))
        scored = []
        for abnormal in (False, True):
            for _ in range(N_JOINED):
                row = joiner.draw(abnormal=abnormal)
                features, owner = join_in_time([videos[i].features for i in row])
                scored.append(LabelledScores.from_track(model.score(features), labels[row][owner]))
        frames = frame_metrics(scored)
        found |= {
            "frame_auc": frames.auc,
            "frame_ap": frames.ap,
            "frame_auc_sub": frames.auc_sub,
            "frame_ap_sub": frames.ap_sub,
        }
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


_NO_MASK: tuple[str, dict[str, str]] = ("", {})


@dataclass(frozen=True)
class HeldOutScores:
    """A video that a model was not trained on, and what it scores, in the profile ``best``."""

    video: LabelledVideo
    track: ScoreTrack


def with_threshold_and_metrics(
    model: Model,
    config: TrainConfig,
    held_out: Sequence[VideoFeatures],
    training: Sequence[VideoFeatures],
    warn: Callable[[str], None],
    pretrained: Model | None = None,
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
        warn: Called with the line that says why the threshold could not be set by the wished rate
            of false alarms, and what it is instead.
        pretrained: The model that training went on from.

    Raises:
        InputError: there are no normal videos to set a threshold on.
    """
    profiles: dict[str, Profile] = {}
    metrics: dict[str, float] = {}
    card = dict(model.card)
    for name, section in config.profiles().items():
        videos = score_features(
            model, held_out or [g for g in training if not g.video.abnormal], section
        )
        masks = summarize_masks(_masks(held_out or training, section))
        at = config.events.fixed_threshold(name)
        if at is not None:
            masks = _NO_MASK
        elif not held_out and config.chosen_method()[0].one_class:
            # It remembers these videos: their own scores say nothing of other ones'.
            # ``fit_one_class``
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
                previous=_threshold_of(pretrained, name),
            )
            at = found.value
            if found.basis == "model":
                masks = _masks_of(pretrained, name)
            elif found.basis == "half" and at == HALF:
                masks = _NO_MASK
            if name == "best" and found.basis != "false alarms":
                warn(_reason(found, wish, pretrained, held_out=bool(held_out)))
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
            values = compute_metrics(model, videos, config.bags, at, config.recipe.seed)
            metrics |= {prefix + key: value for key, value in values.items()}
    return replace(model, profiles=profiles, metrics=metrics, card=card)


def _masks(videos: Sequence[VideoFeatures], section: FeatureSection) -> Iterator[tuple[Path, str]]:
    for each in videos:
        if section in each.features:
            yield each.video.path, each.features[section].spec.mask


def _masks_of(pretrained: Model | None, profile: str) -> tuple[str, dict[str, str]]:
    """The mask that a profile's threshold was set with, and each camera's where they differ."""
    if pretrained is None:
        return _NO_MASK
    return pretrained.profiles[profile].spec.mask, masks_by_camera(pretrained.card, profile)


def _threshold_of(pretrained: Model | None, profile: str) -> float | None:
    if pretrained is None or profile not in pretrained.profiles:
        return None
    return pretrained.profiles[profile].rule.threshold


def _reason(
    choice: ThresholdChoice, target_per_hour: float, pretrained: Model | None, *, held_out: bool
) -> str:
    """What the threshold is, and why it is not set by the wished rate, in one line."""
    at = f"{choice.value:.3g}"
    if choice.basis == "videos":
        what = f"the threshold is {at}, where most held-out videos are right"
    elif choice.basis == "model":
        what = f"the threshold stays {at}, that of the model '{'' if pretrained is None else pretrained.name}'"  # noqa: E501
    elif choice.value == HALF:
        what = "the threshold is one half"
    else:
        what = f"the threshold is {at}, above one half because normal video scores higher"
    if not held_out:
        return f"{what}: no video is held out to set it on; calibrate on normal video"
    return (
        f"{what}: held out are {choice.hours * 60:.1f} minutes of normal video, too little to "
        f"promise {target_per_hour:g} false alarms an hour; calibrate on more of it"
    )


def selection_metric(config: TrainConfig) -> str:
    """Name of what settings and seeds are chosen by: of frames where clips are joined, of whole
    videos elsewhere. Either takes nothing but the videos' labels."""
    return "frame_auc" if config.bags.mode == "joined" else "video_auc"


def selection_value(model: Model, config: TrainConfig, videos: Sequence[VideoFeatures]) -> float:
    """The figure of choice on validation videos of both classes, by the features of training."""
    judged = score_features(model, videos, config.training_features.of(config.features))
    return compute_metrics(model, judged, config.bags, 0.5, config.recipe.seed)[
        selection_metric(config)
    ]


def score_features(
    model: Model, videos: Sequence[VideoFeatures], section: FeatureSection
) -> list[ScoredFeatures]:
    """Features of ``section`` with the videos' labels and the model's scores."""
    return [ScoredFeatures(model, each.features[section], each.video.abnormal) for each in videos]


def held_out_scores(
    model: Model, config: TrainConfig, held_out: Sequence[VideoFeatures]
) -> tuple[HeldOutScores, ...]:
    """What the model scores on each video that was held out."""
    return tuple(
        HeldOutScores(each.video, model.score(each.features[config.features])) for each in held_out
    )
