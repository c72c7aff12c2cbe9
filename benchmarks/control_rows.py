"""The rows of a benchmark's table: a method, the linear baseline, and controls that must not win.

A control is a trainer that does not learn from the picture, or clips whose features are not of the
picture. Every row is trained and tested under the same protocol.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError
from oddframe.evaluation.confidence import Interval, bootstrap_interval
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.scorer import Standardise
from oddframe.outputs.text import TextTable
from oddframe.research.benchmark import FALSE_ALARMS_PER_HOUR, Benchmark
from oddframe.research.clips import BenchmarkClip
from oddframe.research.fold_figures import (
    CLIP_COLUMNS,
    FigureColumn,
    FoldFigures,
    clip_labels,
    column_values,
    compute_fold_figures,
    interval_text,
    mean_std,
    paired_difference,
)
from oddframe.research.fold_training import (
    FoldResult,
    Scorer,
    as_training_videos,
    make_test_videos,
    network_scorer,
    score_part,
    training_bags,
)
from oddframe.research.protocol import BenchmarkProtocol, Folds, TrainTestPart
from oddframe.research.reproduce.tables import linear_baseline
from oddframe.timeline import FloatArray
from oddframe.training.config import BagSection, TrainConfig
from oddframe.training.configure import with_one_class_method
from oddframe.training.data.samplers import TrainingVideo
from oddframe.training.loop import fit
from oddframe.training.search import make_grid
from oddframe.video.decoding.probe import probe

LINEAR = "linear top-k MIL"
NORMAL_ALONE = "normal videos alone"
# Benchmarks whose files' properties are a control.
_FILE_PROPERTIES = ("surveillance_fight",)

BagTrainer = Callable[[Sequence[TrainingVideo], int], Scorer]
"""Training bags and a seed -> a scorer."""
OnFold = Callable[[str, FoldResult], None]
"""Called after each training with the name of the row and its result."""


@dataclass(frozen=True)
class Row:
    """A row of the table: its name, and what is trained on which clips.

    With ``candidates``, one of them is chosen for each part on ``inner_folds`` folds of its
    training clips.
    """

    name: str
    trainer: BagTrainer
    clips: tuple[BenchmarkClip, ...]
    protocol: BenchmarkProtocol
    candidates: Mapping[str, BagTrainer] = field(default_factory=dict)
    inner_folds: int = 2


def make_rows(
    dataset: Dataset,
    clips: tuple[BenchmarkClip, ...],
    config: TrainConfig,
    protocol: BenchmarkProtocol,
    profile: str = "best",
) -> tuple[Row, ...]:
    """The configured method, the linear baseline, a one-class method, and the controls.

    ``clips`` are scored by the features of ``profile``.
    """
    own = protocol.for_config(config)
    trainer = method_trainer(config, _spacing(config, profile, clips))
    method = config.chosen_method()[0]
    # The length control shows what the protocol hides from the other rows.
    open_length = replace(protocol, even_lengths=False, window=None)
    rows = [
        Row(method.title, trainer, clips, own),
        Row(LINEAR, method_trainer(linear_baseline(config)), clips, own),
    ]
    if not method.one_class:
        rows.append(Row(NORMAL_ALONE, method_trainer(with_one_class_method(config)), clips, own))
    rows += [
        Row(f"{method.title}, labels shuffled", _shuffled(config, trainer), clips, protocol),
        Row("a random direction", random_direction, clips, own),
        Row("position in the video", position_only, clips, protocol),
        Row("length of the video", length_only, clips, open_length),
    ]
    if dataset.name in _FILE_PROPERTIES:
        files = file_property_clips(dataset, clips)
        on_clips = protocol.with_clips_as_bags()
        rows.append(Row("file properties", logistic_regression, files, on_clips))
    return tuple(rows)


def with_candidates(row: Row, config: TrainConfig, profile: str = "best") -> Row:
    """The row with every setting of the configuration's search as a candidate."""
    settings = {str(each): each.apply_to(config) for each in make_grid(config, views=False)}
    spacing = _spacing(config, profile, row.clips)
    candidates = {name: method_trainer(each, spacing) for name, each in settings.items()}
    return replace(row, candidates=candidates, inner_folds=config.search.folds)


def _spacing(config: TrainConfig, profile: str, clips: Sequence[BenchmarkClip]) -> float:
    """The distance between a profile's snippets over that of ``best``."""
    steps = {
        name: section.preprocessing().step_s(clips[0].timebase.fps)
        for name, section in config.profiles().items()
    }
    return steps[profile] / steps["best"]


def _shuffled(config: TrainConfig, trainer: BagTrainer) -> BagTrainer:
    # Labels of videos are shuffled, so videos are spliced before, whatever the config.
    if config.bags.mode == "joined":
        trainer = method_trainer(config.model_copy(update={"bags": BagSection()}))
    return random_labels(trainer)


def report(
    benchmark: Benchmark,
    rows: Sequence[Row],
    config: TrainConfig,
    on_fold: OnFold | None = None,
) -> str:
    """Run all rows and write them as Markdown: figures, and differences to the baseline.

    Events are those at a threshold for ``FALSE_ALARMS_PER_HOUR``, by the config's rule.
    """
    lead, results, notes = benchmark.columns[0].field, dict[str, tuple[FoldResult, ...]](), []
    for row in rows:
        if row.candidates:
            results[row.name], chosen = run_nested(
                row.clips,
                row.candidates,
                row.protocol,
                inner_folds=row.inner_folds,
                figure=lambda found: float(np.mean([getattr(r.frames, lead) for r in found])),
                on_fold=_named(on_fold, row.name),
            )
            counts = "; ".join(f"{name}: {n}" for name, n in Counter(chosen).most_common())
            notes.append(f"{row.name}: chosen in each part on {row.inner_folds} folds: {counts}.")
        else:
            on_row = _named(on_fold, row.name)
            results[row.name] = run_protocol(row.clips, row.trainer, row.protocol, on_row)
    rule = config.events.rule(1.0)
    found = {
        name: compute_fold_figures(each, rule, FALSE_ALARMS_PER_HOUR)
        for name, each in results.items()
    }
    lines = [f"### {benchmark.title}", "", figures_markdown(found, benchmark.all_columns), *notes]
    if benchmark.clips:
        intervals = tuple(
            (
                name,
                interval_text(clip_auc_interval(each)),
                interval_text(within_recordings_auc(each)),
            )
            for name, each in results.items()
        )
        headings = ("", "clip AUC, 95 % by recording", "clip AUC within recordings")
        lines.append(TextTable("", headings, intervals, word_columns=1).markdown())
    learned = {name: found[name] for name in list(found)[:2]}
    if LINEAR in learned and len(learned) == 2:
        compared = benchmark.columns[:4] + (CLIP_COLUMNS if benchmark.clips else ())
        lines.append(differences_markdown(learned, LINEAR, compared))
    return "\n".join(lines)


def _named(on_fold: OnFold | None, name: str) -> Callable[[FoldResult], None] | None:
    return None if on_fold is None else lambda result: on_fold(name, result)


def figures_markdown(
    rows: Mapping[str, Sequence[FoldFigures]], columns: Sequence[FigureColumn]
) -> str:
    """Mean ± standard deviation over folds; ``n/a`` where a figure is undefined."""
    return _markdown(
        "",
        columns,
        {name: [mean_std(column_values(f, c)) for c in columns] for name, f in rows.items()},
    )


def differences_markdown(
    rows: Mapping[str, Sequence[FoldFigures]], baseline: str, columns: Sequence[FigureColumn]
) -> str:
    """Each row minus ``baseline``, paired, with 95 % intervals."""
    cells = {
        name: [interval_text(paired_difference(f, rows[baseline], c), 1) for c in columns]
        for name, f in rows.items()
        if name != baseline
    }
    return _markdown(f"minus {baseline}", columns, cells)


def _markdown(
    first: str, columns: Sequence[FigureColumn], cells: Mapping[str, Sequence[str]]
) -> str:
    headings = (first, *(column.heading for column in columns))
    rows = tuple((name, *row) for name, row in cells.items())
    return TextTable("", headings, rows, word_columns=1).markdown()


def run_part(part: TrainTestPart, trainer: BagTrainer, protocol: BenchmarkProtocol) -> FoldResult:
    """Train on one part's training clips and score its test clips."""
    seed = protocol.part_seed(part)
    scorer = trainer(training_bags(part.train, protocol, seed), seed)
    return score_part(part, make_test_videos(part, protocol), scorer, protocol)


def run_protocol(
    clips: Sequence[BenchmarkClip],
    trainer: BagTrainer,
    protocol: BenchmarkProtocol,
    on_fold: Callable[[FoldResult], None] | None = None,
) -> tuple[FoldResult, ...]:
    """Train and score all folds of all repeats."""
    results = []
    for part in protocol.parts(clips):
        results.append(run_part(part, trainer, protocol))
        if on_fold:
            on_fold(results[-1])
    return tuple(results)


def inner_parts(part: TrainTestPart, folds: int, seed: int = 0) -> tuple[TrainTestPart, ...]:
    """The training clips of a part, divided into folds by recording, for choosing settings.

    The test clips of the part are in none of them.
    """
    protocol = BenchmarkProtocol(Folds(folds), repeats=1, seed=seed)
    return tuple(protocol.parts(part.train))


def mean_auc(results: Sequence[FoldResult]) -> float:
    """Mean frame AUC over folds."""
    return float(np.mean([result.frames.auc for result in results]))


def run_nested(
    clips: Sequence[BenchmarkClip],
    candidates: Mapping[str, BagTrainer],
    protocol: BenchmarkProtocol,
    *,
    inner_folds: int = 3,
    figure: Callable[[Sequence[FoldResult]], float] = mean_auc,
    on_fold: Callable[[FoldResult], None] | None = None,
) -> tuple[tuple[FoldResult, ...], tuple[str, ...]]:
    """Choose among ``candidates`` for each part, on folds of its training clips, then test.

    Returns:
        The results, and the name of the candidate that was chosen for each part.
    """
    results, chosen = [], []
    for part in protocol.parts(clips):
        inner = inner_parts(part, inner_folds, protocol.seed)
        figures = {
            name: figure([run_part(each, trainer, protocol) for each in inner])
            for name, trainer in candidates.items()
        }
        best = max(figures, key=lambda name: figures[name])
        results.append(run_part(part, candidates[best], protocol))
        chosen.append(best)
        if on_fold:
            on_fold(results[-1])
    return tuple(results), tuple(chosen)


def method_trainer(config: TrainConfig, spacing: float = 1.0) -> BagTrainer:
    """A trainer of ``config``'s method with its recipe; see ``network_scorer`` for ``spacing``."""

    def train(bags: Sequence[TrainingVideo], seed: int) -> Scorer:
        network = fit(as_training_videos(bags, config), config.with_recipe(seed=seed)).network
        return network_scorer(network, tiled=bags[0].tiles > 1, spacing=spacing)

    return train


def random_labels(trainer: BagTrainer) -> BagTrainer:
    """The same trainer on bags whose labels are shuffled: its AUC must stay near 50."""

    def train(bags: Sequence[TrainingVideo], seed: int) -> Scorer:
        truth = np.array([bag.abnormal for bag in bags])
        labels = shuffle_labels(truth, np.random.default_rng(seed)).tolist()
        return trainer([replace(b, abnormal=x) for b, x in zip(bags, labels, strict=True)], seed)

    return train


def shuffle_labels(labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many abnormal labels (N,), independent of the true ones.

    In a random order of ten labels, many may be as they were, and say a good deal. So each class
    gets abnormal labels by its share of the videos, rounded up or down at random.
    """
    wanted = labels.sum() * labels.mean()  # Of the abnormal ones, so many stay abnormal.
    stay = int(np.floor(wanted + rng.random()))
    new = np.zeros_like(labels)
    new[rng.choice(np.flatnonzero(labels), stay, replace=False)] = True
    new[rng.choice(np.flatnonzero(~labels), labels.sum() - stay, replace=False)] = True
    return new


def random_direction(bags: Sequence[TrainingVideo], seed: int) -> Scorer:
    """A trainer that learns nothing: scores are a random projection of standardised features.

    It gives chance level. That is not 50 where the highest of several tiles counts: high in any
    direction is what is rare, and rare may be just what is looked for.
    """
    dim, tiled = bags[0].views[0].shape[1], bags[0].tiles > 1
    standardise = Standardise.fit(np.asarray(view) for bag in bags for view in bag.views)
    mean, std = standardise.mean.numpy(), standardise.std.numpy()
    direction = np.random.default_rng(seed).normal(size=dim) / np.sqrt(dim)

    def score(array: AnyFeatures) -> FloatArray:
        z = ((np.asarray(array, np.float64) - mean) / std) @ direction
        each: FloatArray = z.max(axis=0) if tiled else z.mean(axis=0)
        return _sigmoid(each)

    return score


def position_only(bags: Sequence[TrainingVideo], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that learns nothing: the score is how far into the video a snippet is."""
    return lambda array: (np.arange(array.shape[1]) + 0.5) / array.shape[1]


def length_only(bags: Sequence[TrainingVideo], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that learns whether abnormal videos are longer, from the number of snippets."""
    lengths = np.array([len(bag.views[0]) for bag in bags], dtype=np.float64)
    abnormal = np.array([bag.abnormal for bag in bags])
    longer = lengths[abnormal].mean() >= lengths[~abnormal].mean()
    sign = 1.0 if longer else -1.0
    return lambda array: np.full(array.shape[1], 1 / (1 + np.exp(-sign * array.shape[1] / 100)))


def logistic_regression(bags: Sequence[TrainingVideo], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer: ridge logistic regression on the standardised mean of a bag's features.

    Newton's method on half the squared norm of the weights plus the log loss.

    Raises:
        UsageError: bags of one class only.
    """
    x = np.stack([np.concatenate(bag.views).mean(axis=0, dtype=np.float64) for bag in bags])
    y = np.array([bag.abnormal for bag in bags], dtype=np.float64)
    if y.min() == y.max():
        raise UsageError("logistic regression needs normal and abnormal bags")
    mean, spread = x.mean(axis=0), x.std(axis=0)
    scale = np.where(spread > 1e-12, spread, 1.0)
    design = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    ridge = np.append(np.ones(x.shape[1]), 1e-9)  # The intercept is not penalised.
    weights = np.zeros(design.shape[1])
    for _ in range(50):
        p = _sigmoid(design @ weights)
        gradient = design.T @ (p - y) + ridge * weights
        hessian = (design * (p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(hessian, gradient)
        weights -= step
        if np.abs(step).max() < 1e-10:
            break

    def score(array: AnyFeatures) -> FloatArray:
        z = (np.asarray(array).mean(axis=0, dtype=np.float64) - mean) / scale
        return _sigmoid(z @ weights[:-1] + weights[-1])

    return score


def _sigmoid(z: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(z, -500, 500)))


def file_property_clips(
    dataset: Dataset, clips: Sequence[BenchmarkClip]
) -> tuple[BenchmarkClip, ...]:
    """The clips with properties of their files in place of features.

    Height, aspect ratio, frame rate, bits a second and presence of sound, the same in each snippet
    of a clip: what a data set gives away without a look at the picture.

    Args:
        dataset: The videos, in the order of ``clips``.
        clips: Their clips; timebases, labels and recordings are kept.

    Raises:
        InputError: a file is missing or damaged.
    """
    made = []
    for video, clip in zip(dataset.videos, clips, strict=True):
        info = probe(video.path)
        bits = 8 * video.path.stat().st_size / clip.timebase.duration_s
        shape = (np.log(info.height), info.width / info.height)
        row = np.array([*shape, info.fps, np.log(bits), info.has_audio], dtype=np.float32)
        array = np.tile(row, (1, clip.timebase.n_snippets, 1))
        made.append(replace(clip, array=array, other_views=()))
    return tuple(made)


def clip_auc_interval(results: Sequence[FoldResult], draws: int = 1000) -> Interval:
    """AUC of single clips, over pairs within a fold; the interval resamples recordings."""
    won, total = _pairs(results)

    def statistic(drawn: Sequence[int]) -> float:
        times = np.bincount(drawn, minlength=len(won))
        return _share(float(times @ won @ times), float(times @ total @ times))

    return bootstrap_interval(range(len(won)), statistic, draws=draws)


def within_recordings_auc(results: Sequence[FoldResult], draws: int = 1000) -> Interval:
    """AUC of single clips over pairs within a recording, so that the scene is no help.

    Only recordings with both labels count; the interval resamples recordings.
    """
    won, total = (np.diag(pairs) for pairs in _pairs(results))

    def statistic(drawn: Sequence[int]) -> float:
        return _share(float(won[list(drawn)].sum()), float(total[list(drawn)].sum()))

    return bootstrap_interval(range(len(won)), statistic, draws=draws)


def _pairs(results: Sequence[FoldResult]) -> tuple[FloatArray, FloatArray]:
    """Pairs of an abnormal and a normal clip of one fold: those in the right order, and all.

    Both (G, G) by the recordings of the abnormal and the normal clip. A tie counts half.
    """
    names = sorted({clip.group for result in results for clip in result.clips})
    won, total = np.zeros((len(names), len(names))), np.zeros((len(names), len(names)))
    for result in results:
        group = np.array([names.index(clip.group) for clip in result.clips])
        abnormal, scores = clip_labels(result), result.clip_scores
        ahead = np.sign(scores[abnormal][:, None] - scores[~abnormal][None, :]) / 2 + 0.5
        where = group[abnormal][:, None], group[~abnormal][None, :]
        np.add.at(won, where, ahead)
        np.add.at(total, where, 1.0)
    return won, total


def _share(won: float, total: float) -> float:
    return won / total if total else float("nan")
