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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from new_recordings import frame_difference, optical_flow
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from list_fight_videos import footage_source

from oddframe.backbones.visual.i3d import FIGHTING, kinetics_actions
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.events import EventRule, find_events
from oddframe.features.store.store import FeatureStore
from oddframe.look_for import action_model
from oddframe.methods.scorer import ModelNetwork
from oddframe.metrics import LabelledScores, frame_metrics, roc_auc
from oddframe.research.clips import BenchmarkClip, splice
from oddframe.research.new_recordings import OUTER_FOLDS, fold_numbers
from oddframe.research.protocol import SpliceRule
from oddframe.timeline import FloatArray, IntArray, ScoreTrack, Timebase
from oddframe.training.config import FeatureSection, TrainConfig, parse_config, read_config
from oddframe.training.configure import shipped_config
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.video.decoding.isolated import open_in_process
from oddframe.video.frame import Image
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader

FIXED_CAMERAS = ("traffic", "walking")
"""Kinds of footage from cameras that do not move."""
FOUND = (0.5, 0.7)
THRESHOLDS = tuple(round(0.05 * i, 2) for i in range(6, 20))
ACTION_THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
SPLICED = SpliceRule()


Measure = Callable[[Image], float]
"""A figure of the pictures (T, h, w, 3) of a snippet, which says how much moves."""


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        title: What it is.
        crop: ``full`` or ``motion``; ``motion,full``: the features of both, side by side.
        config: The method and how it is trained, or the name of a shipped configuration; or,
            without any training, what is measured of the pictures, or the actions that are looked
            for.
        footage: Which footage is learned from, too: none, what may be shipped, or all of it.
    """

    title: str
    crop: str
    config: str | dict[str, Any] | Measure | tuple[str, ...]
    footage: str = "none"


FIGHTING_ACTIONS = tuple(name for name, group in kinetics_actions() if group == FIGHTING)
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
    Variant("logistic regression, square and whole picture side by side", "motion,full", LOGISTIC),
    Variant("... with footage to learn from", "motion,full", LOGISTIC, "may ship"),
    Variant("frame difference, not trained", "full", frame_difference),
    Variant("optical flow, 95th percentile, not trained", "full", optical_flow),
    Variant(
        "`--look-for` nine fighting actions, not trained, motion square", "motion", FIGHTING_ACTIONS
    ),
    Variant("... whole picture", "full", FIGHTING_ACTIONS),
)


@dataclass(frozen=True)
class Footage:
    """A file of everyday video without fights, with its kind and source."""

    video: LabelledVideo
    kind: str
    source: str
    may_train: bool


@dataclass(frozen=True)
class Rows:
    """Features (1, T, D) of a video, or what was measured of it, with the times of the T rows."""

    array: NDArray[np.floating[Any]]
    timebase: Timebase


@dataclass(frozen=True)
class Copies:
    """Features of altered copies, in the order of the originals.

    Attributes:
        training: Of each clip.
        negatives: Of each file of footage that may be learned from, by its number.
    """

    training: tuple[Rows, ...]
    negatives: Mapping[int, Rows]


@dataclass(frozen=True)
class Material:
    """Clips and footage, with the features of one crop or of several, side by side.

    Attributes:
        dataset: The clips.
        clips: Features of each clip that are scored, with the snippets of a profile.
        training: The same that are learned from, every 8 frames.
        footage: The files of footage.
        rows: Features of each file of footage, likewise.
        negatives: The same that are learned from, a snippet every 16 frames.
        copies: Altered copies of clips and footage that are learned from, too.
    """

    dataset: Dataset
    clips: tuple[Rows, ...]
    training: tuple[Rows, ...]
    footage: tuple[Footage, ...]
    rows: tuple[Rows, ...]
    negatives: tuple[Rows, ...]
    copies: tuple[Copies, ...] = ()


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


def load_material(data: Path, store: Path, variant: Variant, profile: str = "best") -> Material:
    """Load the features, or extract them first; or measure the pictures."""
    dataset = read_surveillance_fight(data / "surveillance_fight")
    footage = read_footage(data / "footage", dataset.videos[0])
    config = read_config(shipped_config("fight"))
    scored, trained = config.profiles()[profile], config.training_views()["best"]
    extractor = Extractor(FeatureStore(store), "cpu", "auto", "float32")

    def load(videos: Sequence[LabelledVideo], section: FeatureSection) -> tuple[Rows, ...]:
        if callable(variant.config):
            how = extractor.spec(section.model_copy(update={"crops": ("full",)}))
            return tuple(_measure(video.path, how, variant.config) for video in videos)
        sections = [
            section.model_copy(update={"crops": (crop,)}) for crop in variant.crop.split(",")
        ]
        requests = [FeatureRequest(video, tuple(sections)) for video in videos]
        found, failed = load_features(requests, extractor, progress=_print_progress)
        if failed:
            raise SystemExit(next(iter(failed.values())))
        parts = [[each.features[section] for section in sections] for each in found]
        return tuple(
            Rows(np.concatenate([np.asarray(p.array) for p in each], -1), each[0].timebase)
            for each in parts
        )

    clips = load(dataset.videos, scored)
    rows = load([each.video for each in footage], scored)
    if callable(variant.config):
        return Material(dataset, clips, (), footage, rows, ())
    return Material(
        dataset,
        clips,
        load(dataset.videos, trained),
        footage,
        rows,
        load([each.video for each in footage], trained.model_copy(update={"stride": 16})),
    )


def _measure(path: Path, how: Preprocessing, measure: Measure) -> Rows:
    """``measure`` of each snippet of a video, scaled to [0, 1): x / (1 + x)."""
    reading = MultiSnippetReader(open_in_process(path), [how])
    values = np.array([measure(crops[0]) for _, crops in reading])
    return Rows((values / (1 + values))[None, :, None], reading.timebases[0])


class Untrained:
    """Takes what was measured of a snippet for its score."""

    def score_views(self, array: NDArray[np.floating[Any]]) -> FloatArray:
        """(T,) scores of (1, T, 1)."""
        return np.asarray(array[0, :, 0], dtype=np.float64)


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
    clips: list[list[ScoreTrack]] = []
    footage: list[list[list[ScoreTrack]]] = []
    frames = []
    for repeat in range(repeats):
        held = source_folds(material.footage, repeat)
        tracks: list[ScoreTrack | None] = [None] * len(material.clips)
        elsewhere: list[list[ScoreTrack]] = [[] for _ in held]
        for number, test, network in trained_folds(variant, material, repeat):
            for i in test:
                tracks[i] = score_rows(network, material.clips[i])
            for i, rows in enumerate(material.rows):
                if variant.footage == "none" or held[i] == number:
                    elsewhere[i].append(score_rows(network, rows))
            frames.append(_spliced(network, material, test, 100 * repeat + number))
        clips.append([track for track in tracks if track is not None])
        footage.append(elsewhere)
    return Scores(clips, footage, np.array(frames))


def trained_folds(
    variant: Variant, material: Material, repeat: int
) -> Iterator[tuple[int, NDArray[np.int64], ModelNetwork | Untrained]]:
    """For each fold its number, its test clips, and a model that saw none of their recordings."""
    trained = isinstance(variant.config, str | dict)
    config = read_settings(variant.config) if trained else None  # type: ignore[arg-type]
    fold = fold_numbers(material.dataset, OUTER_FOLDS, repeat)
    held = source_folds(material.footage, repeat)
    for number in range(OUTER_FOLDS):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        network: ModelNetwork | Untrained = Untrained()
        if isinstance(variant.config, tuple):
            network = action_model(variant.config).network
        elif config is not None:
            negatives = [
                i
                for i, each in enumerate(material.footage)
                if held[i] != number and is_learned_from(each, variant)
            ]
            videos = training_videos(material, train, negatives)
            network = fit(videos, config.with_recipe(seed=100 * repeat + number)).network
        yield number, test, network


def read_settings(config: str | dict[str, Any]) -> TrainConfig:
    if isinstance(config, str):
        return read_config(shipped_config(config))
    return parse_config(config, "variant")


def is_learned_from(footage: Footage, variant: Variant) -> bool:
    return variant.footage == "all" or (variant.footage == "may ship" and footage.may_train)


def training_videos(
    material: Material, clips: Sequence[int], footage: Sequence[int]
) -> list[TrainingVideo]:
    labelled = []
    for each in (material, *material.copies):
        labelled += [
            (each.training[i].array, bool(material.dataset.videos[i].abnormal)) for i in clips
        ]
        labelled += [(each.negatives[i].array, False) for i in footage]
    return [
        TrainingVideo((np.asarray(array, dtype=np.float32)[0],), abnormal=abnormal)
        for array, abnormal in labelled
    ]


def score_rows(network: ModelNetwork | Untrained, features: Rows) -> ScoreTrack:
    return ScoreTrack(network.score_views(features.array), features.timebase)


def _spliced(
    network: ModelNetwork | Untrained, material: Material, test: NDArray[np.int64], seed: int
) -> tuple[float, float]:
    """AUC and AP of the frames of videos that are spliced from the test clips."""
    scored = [
        LabelledScores.from_track(track, labels)
        for track, labels in _splice(network, material, test, seed)
    ]
    found = frame_metrics(scored)
    return found.auc, found.ap


def _splice(
    network: ModelNetwork | Untrained, material: Material, test: NDArray[np.int64], seed: int
) -> list[tuple[ScoreTrack, NDArray[np.bool_]]]:
    """Tracks and frame labels of videos that are spliced from the test clips."""
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
    return [
        (video.track(network.score_views(video.array)), video.labels)
        for video in splice(clips, SPLICED, seed)
    ]


def spliced_tracks(
    variant: Variant, material: Material
) -> list[tuple[ScoreTrack, NDArray[np.bool_]]]:
    """Tracks and frame labels of the spliced test videos of all folds, the first way to cut."""
    return [
        each
        for number, test, network in trained_folds(variant, material, 0)
        for each in _splice(network, material, test, number)
    ]


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


def print_thresholds(
    figures: Figures, material: Material, thresholds: Sequence[float] = THRESHOLDS
) -> None:
    """What each threshold finds, and its false alarms an hour, by kind of footage."""
    kinds = np.array([each.kind for each in material.footage])
    names = sorted(set(kinds))
    print(
        "\n| threshold | fights found | normal clips with an event | all footage | fixed cameras ",
        end="",
    )
    print(f"| {' | '.join(names)} |\n| ---: |{' ---: |' * (4 + len(names))}")
    for threshold in thresholds:
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
    material: dict[Any, Material] = {}
    for variant in chosen:
        key = variant.config if callable(variant.config) else variant.crop
        if key not in material:
            material[key] = load_material(given.data, given.store, variant, given.profile)
        scores = run_variant(variant, material[key], given.repeats)
        figures = Figures(scores, material[key], rule)
        print_row(variant, scores, figures)
        if isinstance(variant.config, tuple):
            print_thresholds(figures, material[key], ACTION_THRESHOLDS)
        if "shipped" in variant.title:
            shipped = figures
    if shipped is not None:
        print_thresholds(shipped, material["motion"])


if __name__ == "__main__":
    main()
