"""One training of a grid: bags, steps, figures, and what is kept of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import nn

from oddframe.experiments.benchmark import FALSE_ALARMS_PER_HOUR, handed
from oddframe.experiments.course import KEEP_EVERY, Course, discard
from oddframe.experiments.figures import Figures, figures
from oddframe.experiments.parts import Part
from oddframe.experiments.protocol import (
    FoldResult,
    Protocol,
    Scorer,
    scored,
    seed_of,
    training_bags,
    videos_of,
)
from oddframe.experiments.provenance import (
    code,
    digest_of,
    protocol_facts,
    training_facts,
)
from oddframe.experiments.splice import Spliced
from oddframe.experiments.trainers import fitted, scorer_of
from oddframe.experiments.training_record import (
    Cost,
    Training,
    write_training,
)
from oddframe.features.lazy import AnyFeatures
from oddframe.files import write_bytes
from oddframe.methods.scorer import ModelNetwork
from oddframe.timeline import FloatArray
from oddframe.training.config import TrainConfig

# As UR-DMU's authors look at the test set: every 10 steps, from step 20 on.
LOOK_EVERY, LOOK_FROM = 10, 20


@dataclass(frozen=True)
class Setting:
    """What all trainings of a grid share.

    Attributes:
        dataset: Name of the data set.
        protocol: Splits and test videos.
        lead: The figure that comes first.
        features_sha256: Of all that is learned from and tested on.
        folder: Where trainings are kept.
        device: Where they run.
        best_on_test: Look at the test set on the way, too.
    """

    dataset: str
    protocol: Protocol
    lead: str
    features_sha256: str
    folder: Path
    device: str = "cpu"
    best_on_test: bool = False


@dataclass(frozen=True)
class Task:
    """One training: a config on one part, and the first row that wants it, in words."""

    name: str
    config: TrainConfig
    repeat: int
    fold: int


def training_digest(config: TrainConfig, setting: Setting) -> str:
    """sha256 (hex) of all that trainings of ``config`` depend on, but for their repeat and fold."""
    return digest_of({
        "training": training_facts(config),
        "protocol": protocol_facts(handed(config, setting.protocol)),
        "dataset": setting.dataset,
        "features": setting.features_sha256,
    })  # fmt: skip


def record_path(task: Task, setting: Setting) -> Path:
    """Where the record of a training is, or would be: the same training has the same path."""
    digest = training_digest(task.config, setting)
    folder = setting.folder / f"{task.config.method.name}-{digest[:12]}"
    return folder / f"r{task.repeat}f{task.fold}.json"


def weights_path(record: Path) -> Path:
    """Where the network of a training is, if it was kept: that of the first part."""
    return record.with_suffix(".safetensors")


def train(task: Task, part: Part, setting: Setting) -> Training:
    """Train, test, and write the record at once; of the first part, the network beside it.

    A checkpoint lies beside it meanwhile: killed, the same training goes on from there.

    The config's seed is that of weights, noise and order, moved on from part to part; splits and
    joined videos are the protocol's, whatever that seed is.

    Raises:
        OddframeError: a term of the loss is not finite, or the record cannot be written.
    """
    began = time.monotonic()
    config, protocol = task.config, handed(task.config, setting.protocol)
    drawn = seed_of(part, protocol)
    seed = config.recipe.seed + drawn
    bags = training_bags(part.train, protocol, drawn)
    test = _Test(part, videos_of(part, protocol), protocol, config, bags[0].tiles > 1)
    path = record_path(task, setting)
    prepared_s, last = time.monotonic() - began, config.full_recipe().steps
    course = Course(path, looking=setting.best_on_test)

    def look(step: int, network: ModelNetwork) -> None:
        if step >= LOOK_FROM or step == last:
            course.look(step, test.figures(network))

    done = fitted(
        bags,
        config,
        seed,
        device=setting.device,
        checkpoint=course.checkpoint,
        checkpoint_every=KEEP_EVERY,
        on_step=course.step,
        on_network=look if setting.best_on_test else None,
        network_every=LOOK_EVERY,
    )
    trained_s = course.processor_s
    watch = Watch(scorer_of(done.network, tiled=test.tiled))
    found = test.figures_of(watch)
    cost = Cost(
        _numbers(done.network.network),
        round(trained_s, 2),
        round(watch.hour(test.videos), 2),
        setting.device,
    )
    if (task.repeat, task.fold) == (0, 0):  # Pictures show it. Before the record that is its own.
        state = {
            name: t.detach().cpu().contiguous() for name, t in done.network.state_dict().items()
        }
        write_bytes(weights_path(path), save(state))
    training = Training(
        dataset=setting.dataset,
        figures=found,
        steps=course.total,
        seed=seed,
        config=config.with_recipe(seed=seed).model_dump(mode="json"),
        facts=training_facts(config),
        protocol=protocol_facts(protocol),
        features_sha256=setting.features_sha256,
        code=code(),
        torch=torch.__version__,
        device=setting.device,
        threads=torch.get_num_threads(),
        seconds=round(prepared_s + course.seconds, 1),
        learning=course.learning(),
        warnings=done.warnings,
        best_on_test=course.best(setting.lead) if setting.best_on_test else None,
        cost=cost,
    )
    write_training(path, training)
    discard(path)
    return training


@dataclass(frozen=True)
class _Test:
    """What a network is tested on."""

    part: Part
    videos: tuple[Spliced, ...]
    protocol: Protocol
    config: TrainConfig
    tiled: bool

    def figures(self, network: ModelNetwork) -> Figures:
        """Those of what a network has learned by now."""
        return self.figures_of(scorer_of(network, tiled=self.tiled))

    def figures_of(self, scorer: Scorer) -> Figures:
        """A threshold needs other folds: what depends on one is not defined here."""
        result: FoldResult = scored(self.part, self.videos, scorer, self.protocol)
        return figures((result,), self.config.events.rule(1.0), FALSE_ALARMS_PER_HOUR)[0]


class Watch:
    """A scorer whose processor time is measured."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self._snippets = 0
        self._seconds = 0.0

    def __call__(self, array: AnyFeatures) -> FloatArray:
        began = time.process_time()
        scores = self._scorer(array)
        self._seconds += time.process_time() - began
        self._snippets += array.shape[1]
        return scores

    def hour(self, videos: Sequence[Spliced]) -> float:
        """Milliseconds that an hour of video such as these takes; 0 before anything is scored."""
        clips = [clip for video in videos for clip in video.clips]
        snippets = sum(clip.timebase.n_snippets for clip in clips)
        hours = sum(clip.timebase.duration_s for clip in clips) / 3600
        return 1000 * self._seconds / max(1, self._snippets) * snippets / hours


def _numbers(network: nn.Module) -> int:
    """Of parameters; of a method without any, what it keeps in their place."""
    learned = sum(p.numel() for p in network.parameters())
    return learned or sum(b.numel() for b in network.buffers())
