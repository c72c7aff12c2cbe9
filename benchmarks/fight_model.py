"""What the shipped model `fight` owes to each of its parts, on recordings that it never saw.

    python benchmarks/fight_model.py --data DATA --store FOLDER

``DATA`` holds ``surveillance_fight`` and ``footage``. Features are kept in the store ``FOLDER``, so
the command goes on where it was stopped, and prints tables in Markdown.

Six folds by recording, in each of which the footage is divided into six folds by source, too: a
model is tested on recordings and footage of which it has seen nothing. Intervals resample
recordings, and files of footage.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from list_fight_videos import footage_source

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.events import EventRule, find_events
from oddframe.features.spec import Features
from oddframe.features.store.store import FeatureStore
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import LabelledScores, frame_metrics, roc_auc
from oddframe.research.clips import BenchmarkClip, splice
from oddframe.research.new_recordings import OUTER_FOLDS, fold_numbers
from oddframe.research.protocol import SpliceRule
from oddframe.timeline import FloatArray, IntArray, ScoreTrack
from oddframe.training.config import FeatureSection, TrainConfig, parse_config, read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit

FIXED_CAMERAS = ("traffic", "walking")
"""Kinds of footage from cameras that do not move."""
FOUND = (0.5, 0.7)
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(6, 20))
SPLICED = SpliceRule()


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        title: What it is.
        crop: ``full`` or ``motion``.
        config: The method and how it is trained, or the name of a shipped configuration.
        footage: Which footage is learned from, too: none, what may be shipped, or all of it.
    """

    title: str
    crop: str
    config: str | dict[str, Any]
    footage: str = "none"


LOGISTIC: dict[str, Any] = {"method": {"name": "logistic", "config": {"ridge": 100}}}
LOOK_ALIKES: dict[str, Any] = {
    "method": {"name": "logistic", "config": {"ridge": 100, "look_alikes": 3}}
}
LINEAR: dict[str, Any] = {
    "method": {"name": "linear"},
    "recipe": {"steps": 300, "segments": 32, "normal_bags": 8, "abnormal_bags": 8, "average": 0.98},
    "bags": {"mode": "joined", "clips": [8, 12], "abnormal": [1, 3]},
}
VARIANTS = (
    Variant("the former `fight`: UR-DMU and a linear path, whole picture", "full", "fight_urdmu"),
    Variant("... in the motion square", "motion", "fight_urdmu"),
    Variant("linear top-k MIL, motion square", "motion", LINEAR),
    Variant("logistic regression, whole picture", "full", LOGISTIC),
    Variant("logistic regression, motion square", "motion", LOGISTIC),
    Variant("... with look-alikes", "motion", LOOK_ALIKES),
    Variant("... with footage to learn from", "motion", LOGISTIC, "may ship"),
    Variant("**... with both (shipped)**", "motion", LOOK_ALIKES, "may ship"),
    Variant("... with both, and all footage", "motion", LOOK_ALIKES, "all"),
)


@dataclass(frozen=True)
class Footage:
    """A file of everyday video without fights, with its kind and source."""

    video: LabelledVideo
    kind: str
    source: str
    may_train: bool


@dataclass(frozen=True)
class Material:
    """Clips and footage, with the features of one crop.

    Attributes:
        dataset: The clips.
        clips: Features of each clip that are scored, with the snippets of a profile.
        training: The same that are learned from, every 8 frames.
        footage: The files of footage.
        rows: Features of each file of footage, likewise.
        negatives: The same that are learned from, a snippet every 16 frames.
    """

    dataset: Dataset
    clips: tuple[Features, ...]
    training: tuple[Features, ...]
    footage: tuple[Footage, ...]
    rows: tuple[Features, ...]
    negatives: tuple[Features, ...]


def read_footage(folder: Path, like: LabelledVideo) -> tuple[Footage, ...]:
    """The files of footage that ``clips.csv`` names."""
    with (folder / "clips.csv").open(newline="") as file:
        return tuple(
            Footage(
                replace(like, path=folder / row["path"], label="normal", abnormal=False),
                row["kind"],
                footage_source(row["path"]),
                row["may_train"] == "yes",
            )
            for row in csv.DictReader(file)
        )


def load_material(data: Path, store: Path, crop: str, profile: str = "best") -> Material:
    """Load the features, or extract them first."""
    dataset = read_surveillance_fight(data / "surveillance_fight")
    footage = read_footage(data / "footage", dataset.videos[0])
    config = read_config(shipped_config("fight"))
    scored = config.profiles()[profile].model_copy(update={"crops": (crop,)})
    trained = config.training_views()["best"].model_copy(update={"crops": (crop,)})
    extractor = Extractor(FeatureStore(store), "cpu", "auto", "float32")

    def load(videos: Sequence[LabelledVideo], section: FeatureSection) -> tuple[Features, ...]:
        requests = [FeatureRequest(video, (section,)) for video in videos]
        found, failed = load_features(requests, extractor, progress=_print_progress)
        if failed:
            raise SystemExit(next(iter(failed.values())))
        return tuple(each.features[section] for each in found)

    return Material(
        dataset,
        load(dataset.videos, scored),
        load(dataset.videos, trained),
        footage,
        load([each.video for each in footage], scored),
        load([each.video for each in footage], trained.model_copy(update={"stride": 16})),
    )


def _print_progress(done: int, total: int, text: str) -> None:
    print(f"\r{done} of {total} {text[-40:]:40}", end="", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Scores:
    """What the models of one variant gave, for each of R ways to cut the folds.

    Attributes:
        clips: R lists of N tracks, each by a model that saw nothing of its recording.
        footage: R lists of tracks of each file of footage, by the models that saw nothing of its
            source: all of a repeat where no footage is learned from.
        frames: (R * folds, 2) AUC and AP of the frames of spliced test videos.
    """

    clips: list[list[ScoreTrack]]
    footage: list[list[list[ScoreTrack]]]
    frames: FloatArray


def source_folds(footage: Sequence[Footage], seed: int) -> IntArray:
    """(F,) the fold in which each file is tested; sources are never parted."""
    sources = sorted({each.source for each in footage})
    order = np.random.default_rng(seed).permutation(len(sources)) % OUTER_FOLDS
    fold = dict(zip(sources, order, strict=True))
    return np.array([fold[each.source] for each in footage])


def run_variant(variant: Variant, material: Material, repeats: int) -> Scores:
    """Train and score in folds."""
    config = _read(variant.config)
    clips: list[list[ScoreTrack]] = []
    footage: list[list[list[ScoreTrack]]] = []
    frames = []
    for repeat in range(repeats):
        fold = fold_numbers(material.dataset, OUTER_FOLDS, repeat)
        held = source_folds(material.footage, repeat)
        tracks: list[ScoreTrack | None] = [None] * len(fold)
        elsewhere: list[list[ScoreTrack]] = [[] for _ in held]
        for number in range(OUTER_FOLDS):
            train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            videos = [_training_video(material.training[i], material, i) for i in train]
            negatives = [
                i
                for i, each in enumerate(material.footage)
                if held[i] != number and _learned_from(each, variant)
            ]
            videos += [
                TrainingVideo((np.asarray(material.negatives[i].array)[0],), abnormal=False)
                for i in negatives
            ]
            seeded = config.with_recipe(seed=100 * repeat + number)
            network = fit(videos, seeded).network
            for i in test:
                tracks[i] = _track(network, material.clips[i])
            for i, rows in enumerate(material.rows):
                if variant.footage == "none" or held[i] == number:
                    elsewhere[i].append(_track(network, rows))
            frames.append(_spliced(network, material, test, 100 * repeat + number))
        clips.append([track for track in tracks if track is not None])
        footage.append(elsewhere)
    return Scores(clips, footage, np.array(frames))


def _read(config: str | dict[str, Any]) -> TrainConfig:
    if isinstance(config, str):
        return read_config(shipped_config(config))
    return parse_config(config, "variant")


def _learned_from(footage: Footage, variant: Variant) -> bool:
    return variant.footage == "all" or (variant.footage == "may ship" and footage.may_train)


def _training_video(features: Features, material: Material, index: int) -> TrainingVideo:
    abnormal = material.dataset.videos[index].abnormal
    return TrainingVideo((np.asarray(features.array, dtype=np.float32)[0],), abnormal)


def _track(network: ModelNetwork, features: Features) -> ScoreTrack:
    return ScoreTrack(network.score_views(features.array), features.timebase)


def _spliced(
    network: ModelNetwork, material: Material, test: NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """AUC and AP of the frames of videos that are spliced from the test clips."""
    clips = [
        BenchmarkClip(
            str(material.dataset.videos[i].path),
            np.asarray(material.clips[i].array),
            material.clips[i].timebase,
            material.dataset.videos[i].abnormal,
            material.dataset.videos[i].group,
        )
        for i in test
    ]
    scored = [
        LabelledScores.from_track(video.track(network.score_views(video.array)), video.labels)
        for video in splice(clips, SPLICED, seed)
    ]
    found = frame_metrics(scored)
    return found.auc, found.ap


class Figures:
    """The figures of one variant, for any weights of recordings and files of footage."""

    def __init__(self, scores: Scores, material: Material, rule: EventRule) -> None:
        self.fight = material.dataset.abnormal
        names = [video.group for video in material.dataset.videos]
        self.recording = np.unique(names, return_inverse=True)[1]
        self.hours = np.array([each.timebase.duration_s / 3600 for each in material.rows])
        self.means = np.array([[t.scores.mean() for t in row] for row in scores.clips])
        self.peaks = np.array([[_peak(t, rule) for t in row] for row in scores.clips])
        self._rule, self._footage = rule, scores.footage

    def alarms(self, repeat: int, threshold: float) -> FloatArray:
        """(files,) false alarms at a threshold, the mean over the models that scored a file."""
        rule = self._rule.with_threshold(threshold)
        return np.array(
            [np.mean([len(find_events(t, rule)) for t in file]) for file in self._footage[repeat]]
        )

    def auc(self, weights: FloatArray) -> float:
        """Clip AUC in per cent where a recording counts ``weights`` times."""
        each = weights[self.recording]
        return float(np.mean([100 * roc_auc(self.fight, row, each) for row in self.means]))

    def threshold(self, repeat: int, found: float) -> float:
        """The highest threshold at which this share of the fights has an event."""
        peaks = np.sort(self.peaks[repeat, self.fight])[::-1]
        return float(peaks[int(np.ceil(found * len(peaks))) - 1])


def _peak(track: ScoreTrack, rule: EventRule) -> float:
    """The highest threshold at which a clip has an event, to a thousandth."""
    low, high = 0.0, 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        if find_events(track, rule.with_threshold(middle)):
            low = middle
        else:
            high = middle
    return low


def print_row(variant: Variant, scores: Scores, figures: Figures, draws: int = 500) -> None:
    """One row of the table, with 95 % intervals of the clip AUC and of the alarms."""
    rng = np.random.default_rng(0)
    n, files = int(figures.recording.max()) + 1, len(figures.hours)
    drawn = [
        figures.auc(np.bincount(rng.integers(n, size=n), minlength=n).astype(float))
        for _ in range(draws)
    ]
    cells = [_cell(figures.auc(np.ones(n)), np.array(drawn), 1)]
    cells.append(" / ".join(f"{100 * each:.1f}" for each in scores.frames.mean(axis=0)))
    repeats = len(figures.means)
    for found in FOUND:
        counts = np.mean(
            [figures.alarms(r, figures.threshold(r, found)) for r in range(repeats)], axis=0
        )
        picks = rng.integers(files, size=(draws, files))
        rates = counts[picks].sum(axis=1) / figures.hours[picks].sum(axis=1)
        cells.append(_cell(float(counts.sum() / figures.hours.sum()), rates, 0))
    print(f"| {variant.title} | {' | '.join(cells)} |", flush=True)


def _cell(value: float, drawn: FloatArray, digits: int) -> str:
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def print_thresholds(figures: Figures, material: Material) -> None:
    """What each threshold finds, and its false alarms an hour, by kind of footage."""
    kinds = np.array([each.kind for each in material.footage])
    names = sorted(set(kinds))
    print(
        "\n| threshold | fights found | normal clips with an event | all footage | fixed cameras ",
        end="",
    )
    print(f"| {' | '.join(names)} |\n| ---: |{' ---: |' * (4 + len(names))}")
    for threshold in THRESHOLDS:
        hits = figures.peaks >= threshold
        counts = np.mean([figures.alarms(r, threshold) for r in range(len(hits))], axis=0)

        def rate(which: NDArray[np.bool_], counts: FloatArray = counts) -> str:
            return f"{counts[which].sum() / figures.hours[which].sum():.0f}"

        cells = [f"{hits[:, figures.fight].mean():.0%}", f"{hits[:, ~figures.fight].mean():.0%}"]
        cells += [rate(kinds != ""), rate(np.isin(kinds, FIXED_CAMERAS))]
        cells += [rate(kinds == name) for name in names]
        print(f"| {threshold} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Extract, train, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the data sets lie")
    parser.add_argument("--store", type=Path, required=True, help="where features are kept")
    parser.add_argument("--repeats", type=int, default=2, help="ways to cut the folds")
    parser.add_argument("--profile", choices=("best", "fast"), default="best")
    parser.add_argument("--rows", type=int, nargs="*", help="only these rows, from 0")
    given = parser.parse_args()
    rule = read_config(shipped_config("fight")).events.rule(0.5)
    chosen = [VARIANTS[i] for i in given.rows] if given.rows else list(VARIANTS)
    print("| trained with | clip AUC | spliced frames: AUC / AP ", end="")
    print(
        "| alarms an hour, 50 % of fights found | 70 % found |\n| --- | ---: | ---: | ---: | ---: |"
    )
    shipped: Figures | None = None
    material: dict[str, Material] = {}
    for variant in chosen:
        if variant.crop not in material:
            material[variant.crop] = load_material(
                given.data, given.store, variant.crop, given.profile
            )
        scores = run_variant(variant, material[variant.crop], given.repeats)
        figures = Figures(scores, material[variant.crop], rule)
        print_row(variant, scores, figures)
        if "shipped" in variant.title:
            shipped = figures
    if shipped is not None:
        print_thresholds(shipped, material["motion"])


if __name__ == "__main__":
    main()
