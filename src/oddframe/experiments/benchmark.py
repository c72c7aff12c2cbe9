"""The benchmarks: what stands in their tables, and how it is made.

UCF-Crime and XD-Violence are run as published. The protocols of the others are local ones, not
those of a published table: figures compare with each other. Each table has a linear baseline on the
same features and bags, and controls that know nothing of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError
from oddframe.experiments import controls
from oddframe.experiments.figures import clip_auc_interval, figures, within_recordings_auc
from oddframe.experiments.parts import Draws, Given
from oddframe.experiments.protocol import FoldResult, Protocol, Trainer, on_clips, run
from oddframe.experiments.splice import Clip, SpliceRule, clips_of
from oddframe.experiments.table import (
    CLIP_COLUMNS,
    FRAME_COLUMNS,
    Column,
    differences,
    interval_text,
    markdown,
)
from oddframe.experiments.trainers import method_trainer
from oddframe.training.config import BagSection, MethodSection, RecipeSection, TrainConfig
from oddframe.training.gather import (
    Extractor,
    Gathered,
    Progress,
    Request,
    Silent,
    gather,
)
from oddframe.training.normal import normal_only

LINEAR = "linear top-k MIL"
NORMAL_ALONE = "normal videos alone"
# Half an hour of normal video stands behind a threshold here: no wish below some 10 an hour can be
# told from none.
FALSE_ALARMS_PER_HOUR = 30.0


@dataclass(frozen=True)
class Benchmark:
    """A data set and the protocol that is fair on it.

    Attributes:
        title: In print.
        config: Name of its configuration in ``configs/``.
        protocol: Splits, bags and test videos.
        columns: What its table shows, the leading figure first.
        clips: Single clips are scored, too.
        file_properties: The files' properties are a control.
        own_split: What is trained and tested on is the data set's own split.
    """

    title: str
    config: str
    protocol: Protocol
    columns: tuple[Column, ...]
    clips: bool = False
    file_properties: bool = False
    own_split: bool = False


_AUC, _AUC_SUB, _AP, _AP_SUB, _FAR, _FOUND, _ALARMS = FRAME_COLUMNS
# What UR-DMU's authors report as AP; it differs from average precision in the third digit.
TRAPEZOID = Column("ap_trapezoid", "AP (trapezoid)")
_PUBLISHED = Protocol(repeats=3, train_on="clips", test_videos=None)
_FALLS = SpliceRule((6, 6), (1, 1), 100, 100, snippets=48)

BENCHMARKS: dict[str, Benchmark] = {
    # Zhong et al. (CVPR 2019) after He et al. (2018): 10 of all 28 clips to train on, 18 to test.
    "ped2": Benchmark(
        "UCSD Ped2, weak labels",
        "ped2",
        Protocol(Draws(normal=4, abnormal=6), 10, "clips", test_videos=None),
        (_AUC, _AUC_SUB, _AP, _AP_SUB, _FAR),
    ),
    # A fall is shorter than the rest of a day: all videos are joined and cut to one length.
    "ur_fall": Benchmark(
        "UR Fall, joined to one length",
        "ur_fall",
        Protocol(
            repeats=1,
            train_videos=_FALLS,
            test_videos=replace(_FALLS, normal_videos=20, abnormal_videos=20),
        ),
        (_AUC_SUB, _AUC, _AP_SUB, _AP, _FAR, _FOUND, _ALARMS),
    ),
    "surveillance_fight": Benchmark(
        "Surveillance Fight, spliced and as clips",
        "fight",
        Protocol(),
        FRAME_COLUMNS,
        clips=True,
        file_properties=True,
    ),
    # Abnormal videos are half as long as normal ones: no method may see a length.
    "shanghaitech_tracks": Benchmark(
        "ShanghaiTech, features of tracks",
        "shanghaitech_tracks",
        Protocol(repeats=3, train_on="clips", test_videos=None, even_lengths=True, window=22),
        (_AUC_SUB, _AUC, _AP_SUB, _AP, _FAR),
        own_split=True,
    ),
    # The published split, recipe and figures; ours are those of the last step.
    "ucf_crime": Benchmark(
        "UCF-Crime",
        "urdmu_published",
        _PUBLISHED,
        (_AUC, TRAPEZOID, _AP, _AUC_SUB, _AP_SUB, _FAR),
        own_split=True,
    ),
    "xd_violence": Benchmark(
        "XD-Violence",
        "urdmu_published_xd",
        _PUBLISHED,
        (TRAPEZOID, _AP, _AUC, _AUC_SUB, _AP_SUB, _FAR),
        own_split=True,
    ),
}


def handed(config: TrainConfig, protocol: Protocol) -> Protocol:
    """The protocol as a config's training sees it.

    A config that joins clips into bags itself, in other rows at every step, is handed clips;
    others what the protocol trains on. Either way a bag's label is all that is told of it.
    """
    return on_clips(protocol) if config.bags.mode == "joined" else protocol


def protocol_of(benchmark: Benchmark, dataset: Dataset) -> Protocol:
    """The benchmark's protocol, on the data set's own split where it asks for that."""
    if not benchmark.own_split:
        return benchmark.protocol
    test = frozenset(str(video.path) for video in dataset.of_part("test").videos)
    return replace(benchmark.protocol, split=Given(test))


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is called, what is trained, on what."""

    name: str
    trainer: Trainer
    clips: tuple[Clip, ...]
    protocol: Protocol


def gathered(
    dataset: Dataset,
    config: TrainConfig,
    extractor: Extractor,
    *,
    jobs: int = 1,
    profile: str = "best",
    progress: Progress | None = None,
) -> list[Gathered]:
    """The features that ``config`` asks for, in the order of the videos; see ``clips_from``.

    Raises:
        InputError: a video cannot be read.
    """
    scored, seen = config.profiles()[profile], tuple(config.training_views().values())
    requests = [Request(video, (scored, *seen)) for video in dataset.videos]
    found, failed = gather(requests, extractor, jobs, progress or Silent())
    if failed:
        raise InputError(next(iter(failed.values())))
    return found


def clips_from(
    dataset: Dataset, config: TrainConfig, found: Sequence[Gathered], profile: str = "best"
) -> tuple[Clip, ...]:
    """What was ``gathered``, as clips.

    Scoring sees what the model's ``profile`` reads, training what its training does.
    """
    scored, seen = config.profiles()[profile], tuple(config.training_views().values())
    features = {each.video.path: each.features[scored] for each in found}
    if seen == (scored,):
        return clips_of(dataset, features)
    training = {each.video.path: [each.features[s] for s in seen] for each in found}
    return clips_of(dataset, features, training)


def baseline(config: TrainConfig) -> TrainConfig:
    """Linear top-k MIL on the same features and bags, standardised, by its own recipe."""
    recipe = config.full_recipe()
    same = {name: getattr(recipe, name) for name in ("segments", "normal_bags", "abnormal_bags")}
    same["seed"] = config.recipe.seed
    return config.model_copy(
        update={
            "method": MethodSection(name="linear"),
            "recipe": RecipeSection(**same),
            "standardise": True,
        }
    )


def rows(
    benchmark: Benchmark,
    dataset: Dataset,
    clips: tuple[Clip, ...],
    config: TrainConfig,
    protocol: Protocol,
) -> tuple[Row, ...]:
    """The configured method, the linear baseline, what knows normal videos alone, the controls."""
    bags = handed(config, protocol)
    trainer = method_trainer(config)
    title = config.chosen_method()[0].title
    # The length control shows what the protocol hides from the others.
    open_length = replace(protocol, even_lengths=False, window=None)
    table = [
        Row(title, trainer, clips, bags),
        Row(LINEAR, method_trainer(baseline(config)), clips, bags),
        Row(NORMAL_ALONE, method_trainer(normal_only(config)), clips, bags),
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
    results = {
        row.name: run(row.clips, row.trainer, row.protocol, _told(say, row.name)) for row in table
    }
    rule = config.events.rule(1.0)
    found = {name: figures(of, rule, FALSE_ALARMS_PER_HOUR) for name, of in results.items()}
    columns = benchmark.columns + (CLIP_COLUMNS if benchmark.clips else ())
    lines = [f"### {benchmark.title}", "", markdown(found, columns)]
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
