"""The benchmarks: on which data, by which protocol, and what stands in their tables.

UCF-Crime and XD-Violence are run as published. The protocols of the others are local ones, not
those of a published table: figures compare with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oddframe._utils.progress import (
    MessageCallback,
    ProgressCallback,
    ignore_message,
    ignore_progress,
)
from oddframe.backbones.engines import DeviceName, EngineName
from oddframe.datasets.labelled import Dataset
from oddframe.errors import InputError
from oddframe.features.store.store import FeatureStore
from oddframe.research.protocol import Protocol, on_clips
from oddframe.research.splice import Clip, SpliceRule, clips_of
from oddframe.research.splits import Draws, Given
from oddframe.research.table import (
    FRAME_COLUMNS,
    Column,
)
from oddframe.training.config import MethodSection, RecipeSection, TrainConfig
from oddframe.training.data.features import (
    Extractor,
    FeatureRequest,
    VideoFeatures,
    load_features,
)

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


def extractor_of(
    store: Path, device: DeviceName = "auto", engine: EngineName = "auto"
) -> Extractor:
    """What makes the features of benchmarks: in float32, so that tables are of the same features
    on every machine; ``auto`` would be bfloat16 where the processor has that."""
    return Extractor(FeatureStore(store), device, engine, "float32")


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
    test = frozenset(str(video.path) for video in dataset.select_part("test").videos)
    return replace(benchmark.protocol, split=Given(test))


def gathered(
    dataset: Dataset,
    config: TrainConfig,
    extractor: Extractor,
    *,
    jobs: int = 1,
    profile: str = "best",
    progress: ProgressCallback = ignore_progress,
    message: MessageCallback = ignore_message,
) -> list[VideoFeatures]:
    """The features that ``config`` asks for, in the order of the videos; see ``clips_from``.

    Raises:
        InputError: a video cannot be read.
    """
    scored, seen = config.profiles()[profile], tuple(config.training_views().values())
    requests = [FeatureRequest(video, (scored, *seen)) for video in dataset.videos]
    found, failed = load_features(requests, extractor, jobs, progress, message)
    if failed:
        first, others = next(iter(failed.values())), len(failed) - 1
        more = f"; {others} other videos likewise: oddframe data check names all" if others else ""
        raise InputError(f"{first}{more}")
    return found


def clips_from(
    dataset: Dataset, config: TrainConfig, found: Sequence[VideoFeatures], profile: str = "best"
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
