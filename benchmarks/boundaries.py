"""How exactly events start and end: rules for an event's extent, and overlapping snippets.

    python benchmarks/boundaries.py --data DATA --store FOLDER

``DATA`` holds ``surveillance_fight``, ``footage`` and ``ur_fall``. Features are kept in the store
``FOLDER``. Models are trained in folds by recording, and tested on what they did not learn from.
Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import fight_model
import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.registry import open_dataset
from oddframe.evaluation.localisation import (
    LocalisedVideo,
    boundary_errors,
    mean_average_precision,
    overlap_shares,
    propose_intervals,
)
from oddframe.events import EventRule, find_events, smooth_frame_scores
from oddframe.research.clips import ClipSource
from oddframe.timeline import FloatArray, ScoreTrack, labelled_intervals
from oddframe.training.config import parse_config
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit

Scored = tuple[ScoreTrack, NDArray[np.bool_]]
FOLDS = 5


def spliced_fights(data: Path, store: Path, stride: int) -> list[Scored]:
    """Tracks and frame labels of spliced test videos, by models as the shipped one."""
    variant = fight_model.Variant("", "motion", fight_model.LOOK_ALIKES, "may ship")
    material = fight_model.load_material(data, store, variant)
    if stride == 8:
        material = replace(material, clips=material.training)
    return fight_model.spliced_tracks(variant, material)


def falls(data: Path, store: Path, stride: int, agreement: float = np.inf) -> list[Scored]:
    """Tracks and frame labels of UR Fall's videos, by a linear model in the motion square.

    Neighbouring snippets whose features have at least the cosine ``agreement`` share their mean
    score (connected components, as in LAS-VAD).
    """
    settings = {
        "features": {"crops": ["motion"], "stride": 8},
        "method": {"name": "linear"},
        "recipe": fight_model.LINEAR["recipe"],
    }
    config = parse_config(settings, "falls")
    dataset = open_dataset(f"ur_fall:{data / 'ur_fall'}")
    clips = ClipSource(dataset, config, store, "cpu").load(1, lambda *_: None)[0]
    groups = sorted({clip.group for clip in clips})
    fold = dict(zip(groups, np.random.default_rng(0).permutation(len(groups)) % FOLDS, strict=True))
    found = []
    for number in range(FOLDS):
        train = [clip for clip in clips if fold[clip.group] != number]
        views = [(np.asarray(clip.array[0], np.float32), clip.abnormal) for clip in train]
        videos = [TrainingVideo((view,), abnormal=abnormal) for view, abnormal in views]
        network = fit(videos, config.with_recipe(seed=number)).network
        for clip in clips:
            if fold[clip.group] == number:
                base = replace(clip.timebase, stride=stride)
                array = np.asarray(clip.array)[:, :: stride // 8]
                short = base.n_snippets - array.shape[1]
                array = np.concatenate([array, *[array[:, -1:]] * short], 1)[:, : base.n_snippets]
                scores = share_scores(network.score_views(array), array[0], agreement)
                found.append((ScoreTrack(scores, base), clip.labels))
    return found


def share_scores(
    scores: FloatArray, features: NDArray[np.floating[Any]], agreement: float
) -> FloatArray:
    """(T,) scores, of which neighbours with features (T, D) that agree share their mean."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    parts = np.append(0, np.cumsum((unit[1:] * unit[:-1]).sum(1) < agreement))
    return np.asarray((np.bincount(parts, scores) / np.bincount(parts))[parts])


def smoothed_events(track: ScoreTrack, rule: EventRule) -> FloatArray:
    """(P, 2) events that last from the threshold to the release of the smoothed scores."""
    curve, edges = smooth_frame_scores(track, rule.smooth_s), frame_edges(track)
    spans: list[list[float]] = []
    on = False
    for i, score in enumerate(curve):
        if not on and score >= rule.threshold:
            on = True
            if not (spans and edges[i] - spans[-1][1] < rule.merge_gap_s):
                spans.append([edges[i], edges[i + 1]])
        on = on and score >= rule.release
        if on:
            spans[-1][1] = edges[i + 1]
    return np.array(spans).reshape(-1, 2)


def exact_events(track: ScoreTrack, rule: EventRule) -> FloatArray:
    """(P, 2) events as ``find_events`` gives them."""
    return np.array([(e.start_s, e.end_s) for e in find_events(track, rule)]).reshape(-1, 2)


def frame_edges(track: ScoreTrack) -> FloatArray:
    """(n_frames + 1,) seconds at which frames start, and the last one ends."""
    return np.append(track.timebase.frame_times, track.timebase.end_s)


def row(
    scored: Sequence[Scored], rule: EventRule, find: Callable[[ScoreTrack, EventRule], FloatArray]
) -> list[str]:
    """Cells: share of true events found, errors, overlap, and mAP of the smoothed scores."""
    errors, shares, videos, count = [], [], [], 0
    for track, labels in scored:
        if not labels.any():
            continue
        edges = frame_edges(track)
        truth = np.array(labelled_intervals(labels, edges))
        events = find(track, rule)
        errors.append(boundary_errors(events, truth))
        best = overlap_shares(events, truth).max(0) if len(events) else np.zeros(len(truth))
        shares.append(best)
        count += len(truth)
        proposals = propose_intervals(smooth_frame_scores(track, rule.smooth_s))
        proposals[:, :2] = edges[proposals[:, :2].astype(int)]
        videos.append(LocalisedVideo(proposals, truth))
    distance = np.concatenate(errors)
    precision = np.mean(list(mean_average_precision(videos).values()))
    return [
        f"{len(distance) / 2 / count:.0%}",
        f"{np.median(distance):.2f}",
        f"{distance.mean():.2f}",
        f"{np.concatenate(shares).mean():.2f}",
        f"{100 * precision:.1f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    given = parser.parse_args()
    names = "videos | stride | smoothed over | extent | found | median error | mean error | overlap"
    print(f"| {names} | mAP |\n| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    shipped = EventRule(0.9, 0.7, 1.0)
    for name, load in (("spliced fights", spliced_fights), ("UR Fall", falls)):
        for stride in (16, 8):
            scored = load(given.data, given.store, stride)
            for smooth_s in (0.0, 1.0):
                rule = replace(shipped, smooth_s=smooth_s)
                for extent, find in (("smoothed", smoothed_events), ("exact", exact_events)):
                    cells = [name, str(stride), f"{smooth_s:g} s", extent, *row(scored, rule, find)]
                    print(f"| {' | '.join(cells)} |", flush=True)
    for agreement, smooth_s in product((0.95, 0.9, 0.85), (0.0, 1.0)):
        scored = falls(given.data, given.store, 16, agreement)
        cells = row(scored, replace(shipped, smooth_s=smooth_s), exact_events)
        name = f"UR Fall, shared from {agreement}"
        print(f"| {name} | 16 | {smooth_s:g} s | exact | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
