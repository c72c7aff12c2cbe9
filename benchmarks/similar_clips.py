"""Whether the training clips that an event looks like tell a true event from a false alarm.

    python benchmarks/similar_clips.py --data DATA --store FOLDER

Folds, footage and models are those of ``fight_model.py``, the shipped row. Each fold's model gets
prototypes from its training clips as ``oddframe train`` chooses them, and its events on recordings
and footage that it never saw are compared with them. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from fight_model import (
    VARIANTS,
    Material,
    Rows,
    is_learned_from,
    load_material,
    read_settings,
    source_folds,
    training_videos,
)

from oddframe.events import EventRule, find_events
from oddframe.features.spec import Features, FeatureSpec
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import roc_auc
from oddframe.prototypes import MAX_PROTOTYPES, Prototype, PrototypeBank, choose_prototypes
from oddframe.reasons import Highest, TrackReasons
from oddframe.research.new_recordings import OUTER_FOLDS, fold_numbers
from oddframe.timeline import ScoreTrack
from oddframe.training.config import read_config
from oddframe.training.configure import shipped_config
from oddframe.training.loop import fit
from oddframe.training.prototype_bank import likely_snippets

THRESHOLDS = (0.5, 0.7, 0.9)
SHIPPED = next(variant for variant in VARIANTS if "shipped" in variant.title)


class Found(NamedTuple):
    """An event: whether it is true, its score, which of its nearest clips are abnormal."""

    threshold: float
    true: bool
    score: float
    abnormal: tuple[bool, ...]


def bank_of(network: ModelNetwork, rows: list[tuple[Rows, bool]]) -> PrototypeBank:
    """The prototypes of training clips (features, whether abnormal)."""
    spec = FeatureSpec(backbone="i3d", weights_sha256="", dim=rows[0][0].array.shape[2])
    found, labels = [], []
    for each, abnormal in rows:
        base = each.timebase
        own = replace(
            spec,
            resize=(224, 224),
            crops=("full",),
            snippet_frames=base.snippet_frames,
            stride=base.stride,
            rate=base.rate,
        )
        features = Features(each.array, own, base)  # type: ignore[arg-type]
        found += likely_snippets(network, features, 1)
        labels.append(abnormal)
    standardised = np.stack([row for _, _, _, row in found])
    scores, odd = np.array([score for _, _, score, _ in found]), np.array(labels)
    chosen = choose_prototypes(standardised, scores, odd, MAX_PROTOTYPES)
    entries = [Prototype(str(i), 0.0, "", bool(odd[i])) for i in chosen]
    return PrototypeBank.of(standardised[chosen], entries)


def find(network: ModelNetwork, bank: PrototypeBank, rows: Rows, true: bool) -> list[Found]:
    """The events of one video at each threshold."""
    standardised = network.standardise_rows(np.asarray(rows.array)[0])
    reasons = TrackReasons(bank, Highest.of(bank.similarities(standardised)))
    track = ScoreTrack(network.score_views(rows.array), rows.timebase, reasons=reasons)
    rule: EventRule = read_config(shipped_config("fight")).events.rule(0.5)
    return [
        Found(threshold, true, event.score, tuple(clip.abnormal for clip in event.similar))
        for threshold in THRESHOLDS
        for event in find_events(track, rule.with_threshold(threshold))
    ]


def run(material: Material, repeats: int) -> list[Found]:
    """The events of all folds."""
    config, found = read_settings(SHIPPED.config), []  # type: ignore[arg-type]
    for repeat in range(repeats):
        fold = fold_numbers(material.dataset, OUTER_FOLDS, repeat)
        held = source_folds(material.footage, repeat)
        for number in range(OUTER_FOLDS):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            negatives = [
                i
                for i, each in enumerate(material.footage)
                if held[i] != number and is_learned_from(each, SHIPPED)
            ]
            videos = training_videos(material, train, negatives)
            network = fit(videos, config.with_recipe(seed=100 * repeat + number)).network
            odd = material.dataset.abnormal
            rows = [(material.training[i], bool(odd[i])) for i in train]
            bank = bank_of(network, rows + [(material.negatives[i], False) for i in negatives])
            for i in test:
                found += find(network, bank, material.clips[i], bool(odd[i]))
            for i in np.flatnonzero(held == number):
                found += find(network, bank, material.rows[i], False)
    return found


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    parser.add_argument("--repeats", type=int, default=2, help="ways to cut the folds")
    given = parser.parse_args()
    events = run(load_material(given.data, given.store, SHIPPED), given.repeats)
    print("| threshold | events | how many | nearest clip abnormal | of the three nearest | AUC |")
    print("| ---: | --- | ---: | ---: | ---: | ---: |")
    for threshold in THRESHOLDS:
        some = [each for each in events if each.threshold == threshold]
        true = np.array([each.true for each in some])
        shares = np.array([np.mean(each.abnormal) for each in some])
        first = np.array([each.abnormal[0] for each in some])
        scores = np.array([each.score for each in some])
        auc = f"{roc_auc(true, shares):.2f}, of the score {roc_auc(true, scores):.2f}"
        for name, which in (("true", true), ("false alarms", ~true)):
            print(
                f"| {threshold} | {name} | {which.sum()} | {first[which].mean():.0%} "
                f"| {shares[which].mean():.0%} | {auc if name == 'true' else ''} |"
            )


if __name__ == "__main__":
    main()
