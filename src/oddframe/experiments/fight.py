"""Surveillance Fight, spliced and as clips: what stands in the table, and how it is made.

A benchmark of ours. Its untrimmed videos are joined from clips of two seconds, so its joins are
cuts; figures compare with each other, not with other benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError
from oddframe.experiments import controls
from oddframe.experiments.figures import clip_auc_interval, figures, within_recordings_auc
from oddframe.experiments.protocol import FoldResult, Protocol, Trainer, on_clips, run
from oddframe.experiments.splice import Clip, clips_of
from oddframe.experiments.table import (
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    differences,
    interval_text,
    markdown,
)
from oddframe.experiments.trainers import method_trainer
from oddframe.training.config import BagSection, MethodSection, RecipeSection, TrainConfig
from oddframe.training.gather import Extractor, Progress, Request, Silent, gather

LINEAR = "linear top-k MIL"
# Half an hour of normal video stands behind a threshold here: no wish below some 10 an hour can be
# told from none.
FALSE_ALARMS_PER_HOUR = 30.0


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is called, what is trained, on what."""

    name: str
    trainer: Trainer
    clips: tuple[Clip, ...]
    protocol: Protocol


def gathered_clips(
    dataset: Dataset,
    config: TrainConfig,
    extractor: Extractor,
    *,
    jobs: int = 1,
    profile: str = "best",
    progress: Progress | None = None,
) -> tuple[Clip, ...]:
    """The clips with the features that ``config`` asks for, from the store or extracted.

    Scoring sees what the model's ``profile`` reads, training what its training does.

    Raises:
        InputError: a clip cannot be read.
    """
    scored, seen = config.profiles()[profile], tuple(config.training_views().values())
    requests = [Request(video, (scored, *seen)) for video in dataset.videos]
    gathered, failed = gather(requests, extractor, jobs, progress or Silent())
    if failed:
        raise InputError(next(iter(failed.values())))
    features = {each.video.path: each.features[scored] for each in gathered}
    training = {each.video.path: [each.features[s] for s in seen] for each in gathered}
    return clips_of(dataset, features, training)


def baseline(config: TrainConfig) -> TrainConfig:
    """Linear top-k MIL on the same features and bags, standardised, by its own recipe."""
    recipe = config.full_recipe()
    same = {name: getattr(recipe, name) for name in ("segments", "normal_bags", "abnormal_bags")}
    return config.model_copy(
        update={
            "method": MethodSection(name="linear"),
            "recipe": RecipeSection(**same),
            "standardise": True,
        }
    )


def rows(
    dataset: Dataset, clips: tuple[Clip, ...], config: TrainConfig, protocol: Protocol
) -> tuple[Row, ...]:
    """The configured method, the linear baseline and the controls.

    Where the config joins clips into bags itself, in other rows at every step, it is handed clips;
    elsewhere videos that are spliced once. Either way a bag's label is all that is told of it.
    """
    joins = config.bags.mode == "joined"
    bags = on_clips(protocol) if joins else protocol
    trainer = method_trainer(config)
    title = config.chosen_method()[0].title
    blind = controls.file_property_clips(dataset, clips)
    return (
        Row(title, trainer, clips, bags),
        Row(LINEAR, method_trainer(baseline(config)), clips, bags),
        Row(f"{title}, labels shuffled", _shuffled(config, trainer), clips, protocol),
        Row("position in the video", controls.position_only, clips, protocol),
        Row("length of the video", controls.length_only, clips, protocol),
        Row("file properties", controls.logistic_regression, blind, on_clips(protocol)),
    )


def _shuffled(config: TrainConfig, trainer: Trainer) -> Trainer:
    # Shuffled labels are those of videos, so the videos are spliced before, whatever the config.
    if config.bags.mode == "joined":
        trainer = method_trainer(config.model_copy(update={"bags": BagSection()}))
    return controls.random_labels(trainer)


def report(
    table: Sequence[Row],
    config: TrainConfig,
    say: Callable[[str, FoldResult], None] | None = None,
) -> str:
    """Run all rows and write them as Markdown: frames, clips, differences to the baseline.

    Events are those at a threshold for ``FALSE_ALARMS_PER_HOUR``, by the config's rule.
    """
    results = {
        row.name: run(row.clips, row.trainer, row.protocol, _told(say, row.name)) for row in table
    }
    rule = config.events.rule(1.0)
    found = {name: figures(of, rule, FALSE_ALARMS_PER_HOUR) for name, of in results.items()}
    learnt = {name: found[name] for name in list(found)[:2]}
    lines = [markdown(found, FRAME_COLUMNS + CLIP_COLUMNS)]
    lines.append("| | clip AUC, 95 % by recording | clip AUC within recordings |")
    lines.append("| --- | ---: | ---: |")
    for name, of in results.items():
        intervals = (clip_auc_interval(of), within_recordings_auc(of))
        lines.append(f"| {name} | " + " | ".join(interval_text(i) for i in intervals) + " |")
    if LINEAR in learnt and len(learnt) == 2:
        lines += ["", differences(learnt, LINEAR, FRAME_COLUMNS[:4] + CLIP_COLUMNS)]
    return "\n".join(lines)


def _told(
    say: Callable[[str, FoldResult], None] | None, name: str
) -> Callable[[FoldResult], None] | None:
    return None if say is None else lambda result: say(name, result)
