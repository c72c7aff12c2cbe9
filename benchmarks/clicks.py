"""What a click is worth: training with simulated clicks in a share of the abnormal videos.

    python benchmarks/clicks.py surveillance_fight --data DATA/surveillance_fight

Benchmarks: surveillance_fight (spliced into untrimmed videos), ur_fall (likewise) and
shanghaitech_tracks (folds of its test part, which alone has frame labels). A click is drawn evenly
inside each event of a clicked video; the videos of 25 % are among those of 50 %. All else is equal:
folds, bags, test videos, seeds. ``--choose`` compares settings on halves of the training parts, for
choices, which are never made on test videos. Finished trainings are kept in ``--work``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from oddframe._utils.files import write_text
from oddframe.datasets.labelled import Dataset, TimeLabels
from oddframe.datasets.registry import open_dataset
from oddframe.errors import OddframeError
from oddframe.evaluation.confidence import mean_interval
from oddframe.evaluation.localisation import localise, mean_average_precision
from oddframe.methods.base import CLICK_WEIGHT
from oddframe.outputs.text import TextTable
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.clips import (
    BenchmarkClip,
    SplicedVideo,
    float32_extractor,
    load_benchmark_features,
    make_clips,
    splice,
)
from oddframe.research.fold_figures import interval_text
from oddframe.research.fold_training import (
    as_training_videos,
    make_test_videos,
    network_scorer,
    score_part,
    with_equal_lengths,
)
from oddframe.research.protocol import BenchmarkProtocol, Folds, InnerFolds, TrainTestPart
from oddframe.research.reproduce.tables import linear_baseline
from oddframe.timeline import FloatArray
from oddframe.training.config import (
    BagSection,
    ClickSection,
    SamplingChanges,
    TrainConfig,
    read_config,
)
from oddframe.training.configure import shipped_config
from oddframe.training.data.samplers import TrainingVideo, mean_segments
from oddframe.training.data.snippet_labels import label_snippets
from oddframe.training.loop import fit

DATASETS = ("surveillance_fight", "ur_fall", "shanghaitech_tracks")
FIGURES = ("AUC_sub", "AUC", "AP", "mAP@tIoU")
# What ``--choose`` compares.
WEIGHTS, SIGMAS = (0.1, 0.3, 1.0), (0.5, 1.0, 2.0)
FEW = ((0.1, 0.5), (0.3, 0.5), (0.03, 2.0), (0.1, 2.0), (0.3, 2.0))
ELSEWHERE: tuple[Literal["unknown", "normal"], ...] = ("unknown", "normal")


@dataclass(frozen=True)
class Clicking:
    """Which labels in time are simulated.

    Attributes:
        share: Share of the abnormal training videos that have any.
        error_s: Largest error of a click in seconds.
        intervals: Whole events instead of clicks.
    """

    share: float = 1.0
    error_s: float = 0.0
    intervals: bool = False

    def __str__(self) -> str:
        error = f", up to {self.error_s:g} s off" if self.error_s else ""
        what = "whole events, " if self.intervals else ""
        return f"{what}{100 * self.share:.0f} %{error}"


MEASURED = (
    *(Clicking(share) for share in (0.0, 0.25, 0.5, 1.0)),
    Clicking(error_s=2.0),
    Clicking(intervals=True),
)


def snippet_spans(video: SplicedVideo) -> FloatArray:
    """(T, 2) start and end of each snippet in seconds."""
    return np.concatenate([
        clip.timebase.snippet_times() - clip.timebase.start_s + start
        for clip, start in zip(video.clips, video.starts_s, strict=False)
    ])  # fmt: skip


def click(video: SplicedVideo, error_s: float, rng: np.random.Generator) -> TimeLabels:
    """A click in each event, evenly drawn, then moved by an error that is evenly drawn."""
    draws = [(rng.uniform(start, end), rng.uniform(-1, 1)) for start, end in video.truth]
    return TimeLabels(tuple(max(0.0, time + error_s * off) for time, off in draws))


def bags(
    part: TrainTestPart, protocol: BenchmarkProtocol, clicking: Clicking, segments: int
) -> tuple[TrainingVideo, ...]:
    """The training bags of a part, with labels in time in a share of the abnormal ones."""
    seed = protocol.part_seed(part)
    clips: Sequence[BenchmarkClip] = part.train
    if protocol.even_lengths:
        clips = with_equal_lengths(clips, seed)
    videos = tuple(SplicedVideo((clip,)) for clip in clips)
    if protocol.train_on == "spliced":
        videos = splice(clips, protocol.train_videos, seed)
    order = np.random.default_rng([seed, 7]).permutation([v.abnormal for v in videos].count(True))
    ranks = iter((order + 0.5) / len(order))
    made = []
    for number, video in enumerate(videos):
        views = video.views
        cut = tuple(mean_segments(view, segments) for view in views)  # Once, not at every step.
        bag = TrainingVideo(views, video.abnormal, bags=cut)
        if video.abnormal and next(ranks) < clicking.share:
            times = click(video, clicking.error_s, np.random.default_rng([seed, number]))
            events = video.truth if clicking.intervals else None
            labels = label_snippets(snippet_spans(video), times, events)
            bag = replace(bag, labels=(labels,) * len(views))
        made.append(bag)
    return tuple(made)


def measure(
    part: TrainTestPart, protocol: BenchmarkProtocol, config: TrainConfig, clicking: Clicking
) -> dict[str, float]:
    """Train on a part, and its figures in percent."""
    segments = config.full_recipe().segments
    training = as_training_videos(bags(part, protocol, clicking, segments), config)
    network = fit(training, config.with_recipe(seed=protocol.part_seed(part))).network
    videos = make_test_videos(part, protocol)
    result = score_part(part, videos, network_scorer(network, tiled=False), protocol)
    pairs = zip(result.tracks, videos, strict=True)
    placed = [localise(track, video.truth) for track, video in pairs if video.abnormal]
    precision = np.mean(list(mean_average_precision(placed).values()))
    frames = result.frames
    values = (frames.auc_sub, frames.auc, frames.ap, float(precision))
    return {name: 100 * value for name, value in zip(FIGURES, values, strict=True)}


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    config: TrainConfig
    clicking: Clicking


def measured_rows(config: TrainConfig) -> Iterator[Row]:
    """A method with no clicks, and with more and more of them."""
    for clicking in MEASURED:
        yield Row(str(clicking), config, clicking)


def candidate_rows(config: TrainConfig, few: bool) -> Iterator[Row]:
    """The settings to choose from, on validation folds, with all videos clicked."""
    yield Row("no clicks", config, Clicking(0.0))
    sections = {"published term": ClickSection(published=True)}
    for elsewhere in ELSEWHERE[:1] if few else ELSEWHERE:
        for weight, sigma_s in FEW if few else product(WEIGHTS, SIGMAS):
            section = ClickSection(weight=weight, sigma_s=sigma_s, elsewhere=elsewhere)
            sections[f"{elsewhere} elsewhere, weight {weight:g}, sigma {sigma_s:g} s"] = section
    for name, section in sections.items():
        yield Row(name, config.model_copy(update={"clicks": section}), Clicking())


def table(rows: Sequence[Row], found: dict[str, list[dict[str, float]]]) -> str:
    """Figures without clicks, and paired differences to them, with 95 % intervals."""
    first = found[rows[0].name]
    lines = []
    for row in rows:
        cells = []
        for name in FIGURES:
            values = np.array([each[name] for each in found[row.name]])
            if row is rows[0]:
                cells.append(f"{values.mean():.1f}")
                continue
            gain = mean_interval((values - [each[name] for each in first]).tolist())
            cells.append(interval_text(gain, 1.0))
        lines.append((row.name, *cells))
    return TextTable("", ("clicked", *FIGURES), tuple(lines), word_columns=1).markdown()


def load(
    args: argparse.Namespace,
) -> tuple[TrainConfig, tuple[TrainTestPart, ...], BenchmarkProtocol]:
    """The configuration, the parts, and their protocol."""
    benchmark = BENCHMARKS[args.benchmark]
    config = read_config(shipped_config(benchmark.config))
    # Bags are whole videos, of the features that are scored.
    plain = {"fast": None, "training_features": SamplingChanges(), "bags": BagSection()}
    config = config.model_copy(update=plain)
    dataset = open_dataset(f"{args.benchmark}:{args.data}")
    protocol = benchmark.protocol
    if args.benchmark == "shanghaitech_tracks":  # Only its test part has frame labels.
        test = dataset.select_part("test")
        # Its 13 cameras are too few for folds with abnormal videos in each: a video is a group.
        videos = tuple(replace(v, group=str(v.path), part="") for v in test.videos)
        dataset = Dataset(dataset.name, videos)
        protocol = replace(protocol, split=Folds())
    found = load_benchmark_features(dataset, config, float32_extractor(args.store))
    clips = make_clips(found, config)
    if args.choose:
        protocol = replace(protocol, split=InnerFolds(protocol.split, 2), repeats=1)
    if args.repeats:
        protocol = replace(protocol, repeats=args.repeats)
    parts = tuple(protocol.parts(clips))
    if args.choose:
        parts = parts[::2]  # One inner fold of each training part.
    return config, parts[: args.parts], protocol


def main() -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("benchmark", choices=DATASETS)
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--store", type=Path, default=Path(".oddframe/features"))
    parser.add_argument("--method", choices=("ur_dmu", "linear"), default="ur_dmu")
    parser.add_argument("--repeats", type=int, help="default: the benchmark's")
    parser.add_argument("--parts", type=int, help="only so many trainings a row")
    parser.add_argument(
        "--few", action="store_true", help="fewer rows, for a method that is slow to train"
    )
    parser.add_argument("--elsewhere", choices=ELSEWHERE, default="unknown")
    parser.add_argument("--choose", action="store_true", help="compare settings on inner folds")
    parser.add_argument("--work", type=Path, default=Path("clicks"), help="finished trainings")
    args = parser.parse_args()
    began = time.monotonic()
    try:
        config, parts, protocol = load(args)
    except OddframeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if args.method == "linear":
        config = linear_baseline(config)
    section = ClickSection(weight=CLICK_WEIGHT, elsewhere=args.elsewhere)
    config = config.model_copy(update={"clicks": section})
    if args.choose:
        rows = list(candidate_rows(config, args.few))
    else:
        rows = list(measured_rows(config))
        rows = [rows[0], rows[3], rows[5]] if args.few else rows
    kind = "choose" if args.choose else args.elsewhere
    path = args.work / f"{args.benchmark}-{args.method}-{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, list[dict[str, float]]] = {row.name: [] for row in rows}
    for part in parts:
        for row in rows:
            key = f"{row.name} | {part.repeat} {part.fold}"
            if key not in kept:
                kept[key] = measure(part, protocol, row.config, row.clicking)
                write_text(path, json.dumps(kept, indent=1))
            found[row.name].append(kept[key])
        minutes = (time.monotonic() - began) / 60
        print(f"repeat {part.repeat}, fold {part.fold}: {minutes:.1f} minutes", file=sys.stderr)
    print(f"{args.benchmark}, {args.method}, {len(parts)} trainings a row\n")
    print(table(rows, found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
