"""Set the thresholds of a trained model, and measure it on videos that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oddframe.cameras import masks_by_camera, summarize_masks, with_masks
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

# Joined videos of each class for the metrics: with so many, the random draw hardly matters.
N_JOINED = 40
# A threshold is chosen by correctly predicted videos only with so many held-out videos of each
# class, from so many groups.
THRESHOLD_MIN_VIDEOS, THRESHOLD_MIN_GROUPS = 10, 3
# The threshold where nothing better is known: training scales the scores to either side of it.
HALF = 0.5


@dataclass(frozen=True)
class ScoredFeatures:
    """Features and label of one video, with the scores of a model."""

    model: Model
    features: Features
    abnormal: bool

    @cached_property
    def track(self) -> ScoreTrack:
        return self.model.score(self.features)


def join_in_time(parts: Sequence[Features]) -> tuple[Features, NDArray[np.int64]]:
    """Join several videos in time; also (n_frames,) the index of the part that each frame is of.

    The joined timebase counts ticks: between the snippets it has no frames of its own. InputError
    if the parts have different specs.
    """
    spec = parts[0].spec
    if any(part.spec != spec for part in parts):
        raise InputError("videos with features of different specs cannot be joined")
    lengths = [part.timebase.n_snippets for part in parts]
    reach = max(spec.snippet_frames, spec.stride)
    n_frames = (sum(lengths) - 1) * spec.stride + reach
    fps = spec.rate or parts[0].timebase.fps
    part_of_snippet = np.repeat(np.arange(len(parts)), lengths)
    snippets = np.minimum(np.arange(n_frames) // spec.stride, len(part_of_snippet) - 1)
    array = np.concatenate([part.array for part in parts], axis=1)
    timebase = Timebase(fps, n_frames, spec.snippet_frames, spec.stride, spec.rate)
    boxes = [part.boxes for part in parts if part.boxes is not None]
    joined = np.concatenate(boxes) if len(boxes) == len(parts) else None
    return Features(array, spec, timebase, joined), part_of_snippet[snippets]


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
    """The threshold for the wanted rate of false alarms on ``normal``, with a margin.

    The lowest threshold that keeps the rate lies just above what these normal videos score, and the
    next video will score a little more. So it is raised halfway to the lowest peak of an
    ``abnormal`` video above it: the same videos are still found.
    """
    rule = events.rule(1.0)
    lowest = calibrate_threshold(normal, false_alarms_per_hour, rule)
    peaks = [float(smooth_frame_scores(track, rule.smooth_s).max()) for track in abnormal]
    above = [peak for peak in peaks if peak > lowest.threshold]
    if not above:
        return lowest
    raised = rule.with_threshold((lowest.threshold + min(above)) / 2)
    remaining = sum(len(find_events(track, raised)) for track in normal)
    return Calibration(raised.threshold, remaining, lowest.hours)


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold and how it was chosen.

    Attributes:
        basis: ``false alarms``: it keeps the wanted rate on enough held-out normal video.
            ``videos``: it predicts the most held-out videos correctly. ``model``: it is that of the
            pretrained model. ``half``: 0.5, or more where normal video scores higher.
    """

    value: float
    basis: Literal["false alarms", "videos", "model", "half"]
    false_alarms: int  # Events in the normal videos at this threshold.
    hours: float  # Of normal video.


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
    """Choose the threshold of a newly trained model by what its held-out videos can show.

    With enough normal video for the wanted rate (``hours_needed``) the threshold is set by that
    rate. Less video cannot show it: a few seconds have no false alarms at some low threshold, and
    of many short clips that were picked to be hard one may score above all abnormal ones. Then,
    with enough videos of both classes, it is the threshold that predicts the most of them
    correctly; that of a pretrained model changes only to a higher one that is clearly better. With
    fewer videos the threshold of the pretrained model stays. Without such a model it is 0.5, or the
    lowest one without false alarms if that is higher.

    Args:
        rows: What ``normal_tracks`` returned, in which false alarms are counted.
        groups: Number of groups of the held-out videos; 0: the videos are training videos.
        previous: Threshold of the pretrained model.
    """
    by_rate = threshold_for_rate(rows, abnormal, events, false_alarms_per_hour)
    basis: Literal["false alarms", "videos", "model", "half"]
    if groups and by_rate.hours >= hours_needed(false_alarms_per_hour):
        return ThresholdChoice(
            by_rate.threshold, "false alarms", by_rate.false_alarms, by_rate.hours
        )
    if groups >= THRESHOLD_MIN_GROUPS and min(len(normal), len(abnormal)) >= THRESHOLD_MIN_VIDEOS:
        value = _threshold_by_videos(normal, abnormal, events, previous)
        basis = "model" if value == previous else "videos"
    elif previous is not None:
        value, basis = previous, "model"
    else:
        value, basis = max(HALF, by_rate.threshold), "half"
    remaining = sum(len(find_events(track, events.rule(value))) for track in rows)
    return ThresholdChoice(value, basis, remaining, by_rate.hours)


def _threshold_by_videos(
    normal: Sequence[ScoreTrack],
    abnormal: Sequence[ScoreTrack],
    events: EventSection,
    previous: float | None,
) -> float:
    """The highest threshold that is as good as the best one, within a standard error.

    The criterion is the mean of the shares of normal and abnormal videos that are predicted
    correctly. ``previous`` is the lowest candidate, and is kept if it is that good.
    """
    normal_peaks, abnormal_peaks = (
        np.array([smooth_frame_scores(track, events.smooth_s).max() for track in tracks])
        for tracks in (normal, abnormal)
    )
    peaks = np.unique(np.concatenate([normal_peaks, abnormal_peaks]))
    middles = (peaks[1:] + peaks[:-1]) / 2
    lowest = HALF if previous is None else previous
    candidates = np.append(lowest, middles if previous is None else middles[middles > previous])
    shares = np.array(
        [[(normal_peaks < each).mean(), (abnormal_peaks >= each).mean()] for each in candidates]
    )
    correct = shares.mean(axis=1)
    best = shares[correct.argmax()]
    variances = best * (1 - best) / [len(normal_peaks), len(abnormal_peaks)]
    good = candidates[correct >= correct.max() - np.sqrt(variances.sum()) / 2]
    return previous if previous is not None and previous in good else float(good.max())


def compute_metrics(
    model: Model, videos: Sequence[ScoredFeatures], section: BagSection, at: float, seed: int
) -> dict[str, float]:
    """The defined metrics of ``videos``, in [0, 1].

    ``video_auc`` and ``video_accuracy`` (at the threshold ``at``) use a video's highest score, or a
    clip's mean score. For clips, ``frame_...`` are over ``N_JOINED`` normal and as many abnormal
    joined videos, in which a frame has the label of its clip.
    """
    labels = np.array([video.abnormal for video in videos])
    summary = np.max if section.mode == "video" else np.mean
    scores = np.array([summary(video.track.scores) for video in videos])
    metrics = {
        "video_auc": roc_auc(labels, scores),
        "video_accuracy": accuracy(labels, scores, at),
    }
    if section.mode == "joined" and labels.any() and not labels.all():
        joiner = ClipJoiner(labels, section, np.random.default_rng(seed))
        joined = []
        for abnormal in (False, True):
            for _ in range(N_JOINED):
                clips = joiner.draw(abnormal=abnormal)
                features, parts = join_in_time([videos[i].features for i in clips])
                track = model.score(features)
                joined.append(LabelledScores.from_track(track, labels[clips][parts]))
        frames = frame_metrics(joined)
        for name in ("auc", "ap", "auc_sub", "ap_sub"):
            metrics[f"frame_{name}"] = getattr(frames, name)
    return {name: float(value) for name, value in metrics.items() if np.isfinite(value)}


_NO_MASK: tuple[str, dict[str, str]] = ("", {})


def with_threshold_and_metrics(
    model: Model,
    config: TrainConfig,
    held_out: Sequence[VideoFeatures],
    training: Sequence[VideoFeatures],
    warn: Callable[[str], None],
    pretrained: Model | None = None,
) -> Model:
    """The model with a threshold in each profile, and with metrics on the held-out videos.

    ``choose_threshold`` chooses the threshold. A profile's mask is that of the videos that set its
    threshold: the pretrained model's where its threshold stays, and none where the configuration
    fixes the threshold or it is 0.5. Without held-out videos there are no metrics, and the normal
    videos of ``training`` can only raise the threshold; for a one-class method, which remembers
    those videos, it is 0.5. ``warn`` is called with a line if the threshold of ``best`` could not
    be set by the wanted rate of false alarms.
    """
    profiles: dict[str, Profile] = {}
    metrics: dict[str, float] = {}
    card = dict(model.card)
    for name, section in config.profiles().items():
        judged = held_out or [each for each in training if not each.video.abnormal]
        videos = score_features(model, judged, section)
        previous = None if pretrained is None else pretrained.profiles.get(name)
        masks = summarize_masks(_masks(held_out or training, section))
        at = config.events.fixed_threshold(name)
        if at is not None:
            masks = _NO_MASK
        elif not held_out and config.chosen_method()[0].one_class:
            # Scores of the videos that it was fitted on say nothing about others. ``fit_one_class``
            # sets the scale so that one normal snippet in a hundred scores above 0.5, on these
            # videos with their mask.
            at = HALF
            card[f"threshold_{name}"] = {"on": "training videos, each not yet remembered"}
        if at is None:
            tracks = normal_tracks(model, videos, config.bags)
            if not tracks:
                raise InputError("no normal videos are held out: no threshold can be set on them")
            rate = config.calibration.false_alarms_per_hour
            choice = choose_threshold(
                tracks,
                [video.track for video in videos if not video.abnormal],
                [video.track for video in videos if video.abnormal],
                config.events,
                rate,
                groups=len({each.video.group for each in held_out}),
                previous=None if previous is None else previous.rule.threshold,
            )
            at = choice.value
            if choice.basis == "model" and pretrained is not None and previous is not None:
                masks = previous.spec.mask, masks_by_camera(pretrained.card, name)
            elif choice.basis == "half" and at == HALF:
                masks = _NO_MASK
            if name == "best" and choice.basis != "false alarms":
                model_name = "" if pretrained is None else pretrained.name
                warn(_reason(choice, rate, model_name, held_out=bool(held_out)))
            card[f"threshold_{name}"] = {
                "normal_minutes": choice.hours * 60,
                "false_alarms": choice.false_alarms,
                "on": "held-out groups" if held_out else "training videos",
                "set_by": choice.basis,
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


def _reason(
    choice: ThresholdChoice, target_per_hour: float, model_name: str, *, held_out: bool
) -> str:
    """One line: what the threshold is, and why it is not set by the wanted rate."""
    at = f"{choice.value:.3g}"
    if choice.basis == "videos":
        what = f"the threshold is {at}, where most held-out videos are right"
    elif choice.basis == "model":
        what = f"the threshold stays {at}, that of the model '{model_name}'"
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
    """The metric that settings and seeds are chosen by, which needs only the videos' labels."""
    return "frame_auc" if config.bags.mode == "joined" else "video_auc"


def selection_value(model: Model, config: TrainConfig, videos: Sequence[VideoFeatures]) -> float:
    """The selection metric on validation videos of both classes, with features of training."""
    judged = score_features(model, videos, config.training_features.apply_to(config.features))
    metrics = compute_metrics(model, judged, config.bags, HALF, config.recipe.seed)
    return metrics[selection_metric(config)]


def score_features(
    model: Model, videos: Sequence[VideoFeatures], section: FeatureSection
) -> list[ScoredFeatures]:
    """Features of ``section`` with the videos' labels and the model's scores."""
    return [ScoredFeatures(model, each.features[section], each.video.abnormal) for each in videos]
