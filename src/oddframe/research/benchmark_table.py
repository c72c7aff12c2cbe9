"""The tables of the benchmarks: a method, the linear baseline and the controls, row by row.

Every table has a linear baseline on the same features and bags, and controls that know nothing of
the picture.

What knows nothing of the picture, under the same protocol: it must not win.

Each control is a ``ModelTrainer``, or clips whose features are something else than the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from oddframe.datasets.labelled import Dataset
from oddframe.errors import UsageError
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.scorer import Standardise
from oddframe.research import benchmark_table as controls
from oddframe.research.benchmarks import FALSE_ALARMS_PER_HOUR, Benchmark, baseline, handed
from oddframe.research.fold_figures import clip_auc_interval, figures, within_recordings_auc
from oddframe.research.protocol import (
    Bag,
    FoldResult,
    Protocol,
    Scorer,
    Trainer,
    method_trainer,
    on_clips,
    run,
    run_nested,
)
from oddframe.research.splice import Clip
from oddframe.research.table import CLIP_COLUMNS, differences, interval_text, markdown
from oddframe.timeline import FloatArray
from oddframe.training.config import BagSection, TrainConfig
from oddframe.training.one_class import with_one_class_method
from oddframe.training.search import make_grid
from oddframe.video.decoding.probe import probe

LINEAR = "linear top-k MIL"
NORMAL_ALONE = "normal videos alone"


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is called, what is trained, on what.

    With ``candidates``, one of them is trained in each part, chosen on ``inner_folds`` folds of its
    training clips.
    """

    name: str
    trainer: Trainer
    clips: tuple[Clip, ...]
    protocol: Protocol
    candidates: Mapping[str, Trainer] = field(default_factory=dict)
    inner_folds: int = 2


def rows(
    benchmark: Benchmark,
    dataset: Dataset,
    clips: tuple[Clip, ...],
    config: TrainConfig,
    protocol: Protocol,
    profile: str = "best",
) -> tuple[Row, ...]:
    """The configured method, the linear baseline, what knows normal videos alone, the controls.

    ``clips`` are scored as ``profile`` reads them.
    """
    bags = handed(config, protocol)
    trainer = method_trainer(config, _spacing(config, profile, clips))
    title = config.chosen_method()[0].title
    # The length control shows what the protocol hides from the others.
    open_length = replace(protocol, even_lengths=False, window=None)
    alone = [Row(NORMAL_ALONE, method_trainer(with_one_class_method(config)), clips, bags)]
    if config.chosen_method()[0].one_class:  # The first row is one already.
        alone = []
    table = [
        Row(title, trainer, clips, bags),
        Row(LINEAR, method_trainer(baseline(config)), clips, bags),
        *alone,
        Row(f"{title}, labels shuffled", _shuffled(config, trainer), clips, protocol),
        Row("a random direction", controls.random_direction, clips, bags),
        Row("position in the video", controls.position_only, clips, protocol),
        Row("length of the video", controls.length_only, clips, open_length),
    ]
    if benchmark.file_properties:
        blind = controls.file_property_clips(dataset, clips)
        row = Row("file properties", controls.logistic_regression, blind, on_clips(protocol))
        table.append(row)
    return tuple(table)


def chosen_anew(row: Row, config: TrainConfig, profile: str = "best") -> Row:
    """The row with every setting of the configuration's search to choose from in each part."""
    settings = {str(each): each.apply_to(config) for each in make_grid(config, views=False)}
    spacing = _spacing(config, profile, row.clips)
    candidates = {name: method_trainer(each, spacing) for name, each in settings.items()}
    return replace(row, candidates=candidates, inner_folds=config.search.folds)


def _spacing(config: TrainConfig, profile: str, clips: Sequence[Clip]) -> float:
    """The step between a profile's snippets over that of ``best``."""
    steps = {
        name: section.preprocessing().step_s(clips[0].timebase.fps)
        for name, section in config.profiles().items()
    }
    return steps[profile] / steps["best"]


def _shuffled(config: TrainConfig, trainer: Trainer) -> Trainer:
    # Shuffled labels are those of videos, so the videos are spliced before, whatever the config.
    if config.bags.mode == "joined":
        trainer = method_trainer(config.model_copy(update={"bags": BagSection()}))
    return controls.random_labels(trainer)


def report(
    benchmark: Benchmark,
    table: Sequence[Row],
    config: TrainConfig,
    say: Callable[[str, FoldResult], None] | None = None,
) -> str:
    """Run all rows and write them as Markdown: figures, and differences to the baseline.

    Events are those at a threshold for ``FALSE_ALARMS_PER_HOUR``, by the config's rule.
    """
    lead, results, lines = benchmark.columns[0].field, dict[str, tuple[FoldResult, ...]](), []
    for row in table:
        if row.candidates:
            results[row.name], chosen = run_nested(
                row.clips,
                row.candidates,
                row.protocol,
                inner_folds=row.inner_folds,
                judge=lambda found: float(np.mean([getattr(r.frames, lead) for r in found])),
                progress=_told(say, row.name),
            )
            counts = "; ".join(f"{name}: {n}" for name, n in Counter(chosen).most_common())
            lines.append(f"{row.name}: chosen in each part on {row.inner_folds} folds: {counts}.")
        else:
            results[row.name] = run(row.clips, row.trainer, row.protocol, _told(say, row.name))
    rule = config.events.rule(1.0)
    found = {name: figures(of, rule, FALSE_ALARMS_PER_HOUR) for name, of in results.items()}
    columns = benchmark.columns + (CLIP_COLUMNS if benchmark.clips else ())
    lines = [f"### {benchmark.title}", "", markdown(found, columns), *lines]
    if benchmark.clips:
        lines.append("| | clip AUC, 95 % by recording | clip AUC within recordings |")
        lines.append("| --- | ---: | ---: |")
        for name, of in results.items():
            intervals = (clip_auc_interval(of), within_recordings_auc(of))
            lines.append(f"| {name} | " + " | ".join(interval_text(i) for i in intervals) + " |")
        lines.append("")
    learnt = {name: found[name] for name in list(found)[:2]}
    if LINEAR in learnt and len(learnt) == 2:
        compared = benchmark.columns[:4] + (CLIP_COLUMNS if benchmark.clips else ())
        lines.append(differences(learnt, LINEAR, compared))
    return "\n".join(lines)


def _told(
    say: Callable[[str, FoldResult], None] | None, name: str
) -> Callable[[FoldResult], None] | None:
    return None if say is None else lambda result: say(name, result)


def random_labels(trainer: Trainer) -> Trainer:
    """The same trainer on bags whose labels are shuffled: its AUC must stay near 50."""

    def train(bags: Sequence[Bag], seed: int) -> Scorer:
        truth = np.array([bag.abnormal for bag in bags])
        labels = shuffled(truth, np.random.default_rng(seed)).tolist()
        return trainer([replace(b, abnormal=x) for b, x in zip(bags, labels, strict=True)], seed)

    return train


def shuffled(labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """As many labels (N,) of either kind, which say nothing of the true ones.

    Of ten labels in any order many may be as they were, and say a good deal. So each class gets
    abnormal labels by its share of the videos, rounded up or down by chance.
    """
    wanted = labels.sum() * labels.mean()  # Of the abnormal ones, so many stay abnormal.
    stay = int(np.floor(wanted + rng.random()))
    new = np.zeros_like(labels)
    new[rng.choice(np.flatnonzero(labels), stay, replace=False)] = True
    new[rng.choice(np.flatnonzero(~labels), labels.sum() - stay, replace=False)] = True
    return new


def random_direction(bags: Sequence[Bag], seed: int) -> Scorer:
    """A trainer that learns nothing: the score is a random linear one of the standardised features.

    What it reaches is chance level. That is not 50 wherever the highest of several tiles counts:
    high in any direction is what is rare, and that may be just what is looked for.
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


def position_only(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that learns nothing: the score is how far into the video a snippet is."""
    return lambda array: (np.arange(array.shape[1]) + 0.5) / array.shape[1]


def length_only(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
    """A trainer that sees the number of snippets alone, and learns which way it points."""
    lengths = np.array([len(bag.views[0]) for bag in bags], dtype=np.float64)
    abnormal = np.array([bag.abnormal for bag in bags])
    longer = lengths[abnormal].mean() >= lengths[~abnormal].mean()
    sign = 1.0 if longer else -1.0
    return lambda array: np.full(array.shape[1], 1 / (1 + np.exp(-sign * array.shape[1] / 100)))


def logistic_regression(bags: Sequence[Bag], seed: int) -> Scorer:  # noqa: ARG001
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
    ridge = np.append(np.ones(x.shape[1]), 1e-9)  # The intercept goes free.
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


def file_property_clips(dataset: Dataset, clips: Sequence[Clip]) -> tuple[Clip, ...]:
    """The clips with properties of their files in place of features.

    Height, aspect ratio, frame rate, bits a second and presence of sound, the same in each snippet
    of a clip: what a data set gives away without a look at the picture.

    Args:
        dataset: The videos, in the order of ``clips``.
        clips: Their clips; timebases, labels and recordings are kept.

    Raises:
        InputError: a file is missing or damaged.
    """
    blind = []
    for video, clip in zip(dataset.videos, clips, strict=True):
        info = probe(video.path)
        bits = 8 * video.path.stat().st_size / clip.timebase.duration_s
        shape = (np.log(info.height), info.width / info.height)
        row = np.array([*shape, info.fps, np.log(bits), info.has_audio], dtype=np.float32)
        array = np.tile(row, (1, clip.timebase.n_snippets, 1))
        blind.append(replace(clip, array=array, other_views=()))
    return tuple(blind)
