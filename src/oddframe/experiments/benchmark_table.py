"""The tables of the benchmarks: a method, the linear baseline and the controls, row by row.

Every table has a linear baseline on the same features and bags, and controls that know nothing of
the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oddframe.datasets.labelled import Dataset
from oddframe.experiments import controls
from oddframe.experiments.benchmark import FALSE_ALARMS_PER_HOUR, Benchmark, baseline, handed
from oddframe.experiments.figures import clip_auc_interval, figures, within_recordings_auc
from oddframe.experiments.protocol import FoldResult, Protocol, Trainer, on_clips, run, run_nested
from oddframe.experiments.splice import Clip
from oddframe.experiments.table import CLIP_COLUMNS, differences, interval_text, markdown
from oddframe.experiments.trainers import method_trainer
from oddframe.training.config import BagSection, TrainConfig
from oddframe.training.normal import normal_only
from oddframe.training.search import grid

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
    alone = [Row(NORMAL_ALONE, method_trainer(normal_only(config)), clips, bags)]
    if config.chosen_method()[0].from_normal_alone:  # The first row is one already.
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
    settings = {str(each): each.of(config) for each in grid(config, views=False)}
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
