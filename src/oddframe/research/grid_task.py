"""One training of a grid: bags, steps, figures, and what is kept of it.

How a training goes, kept beside its checkpoint: one that was killed goes on with all of it.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from oddframe._utils.files import json_text, translate_os_errors, write_bytes, write_text
from oddframe.errors import InputError
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.base import Loss
from oddframe.methods.scorer import ModelNetwork
from oddframe.research.benchmarks import FALSE_ALARMS_PER_HOUR, handed
from oddframe.research.fold_figures import Figures, figures
from oddframe.research.protocol import (
    FoldResult,
    Protocol,
    Scorer,
    fitted,
    scored,
    scorer_of,
    seed_of,
    training_bags,
    videos_of,
)
from oddframe.research.provenance import (
    code,
    digest_of,
    protocol_facts,
    training_facts,
)
from oddframe.research.records import (
    BestOnTest,
    Cost,
    Learning,
    Training,
    figures_from,
    read_record,
    write_training,
)
from oddframe.research.splice import Spliced
from oddframe.research.splits import Part
from oddframe.timeline import FloatArray
from oddframe.training.config import TrainConfig

KIND, SCHEMA = "oddframe course", 1
# Steps between two checkpoints.
KEEP_EVERY = 100
_MOST_POINTS = 100


class Course:
    """The terms of the loss, the looks at the test set and the time that a training took so far.

    It is written before each checkpoint, so what is kept reaches at least as far as that. A
    checkpoint of other code, or of a training that looked at the test set otherwise, is removed:
    such a training begins anew.

    Attributes:
        total: Steps in all.
        terms: Of the loss, a number a step.
        looks: Figures on the test set by step.

    Args:
        record: Where the record of the training will be.
        looking: Whether the test set is looked at on the way.

    Raises:
        OddframeError: a checkpoint that cannot be gone on from cannot be removed.
    """

    def __init__(self, record: Path, *, looking: bool):
        self.path, self.checkpoint = record.with_suffix(".course"), checkpoint_path(record)
        self.total = 0
        self.terms: dict[str, list[float]] = defaultdict(list)
        self.looks: dict[int, Figures] = {}
        self._looking = looking
        self._earlier = self._read() if self.checkpoint.exists() else {}
        if not self._earlier:
            discard(record)
        self._clock = float(self._earlier.get("seconds", 0.0)) - time.monotonic()
        self._processor = float(self._earlier.get("processor_s", 0.0)) - time.process_time()

    @property
    def seconds(self) -> float:
        """By the clock, what earlier processes took included."""
        return self._clock + time.monotonic()

    @property
    def processor_s(self) -> float:
        """Of processor time, likewise."""
        return self._processor + time.process_time()

    def step(self, step: int, total: int, loss: Loss) -> None:
        """A step was taken."""
        if step == 1:  # A collapsed training begins once more.
            self.terms.clear()
            self.looks.clear()
        elif not self.total:
            self._take_up(step - 1)
        self.total = total
        for name, term in {"loss": loss.total, **loss.terms}.items():
            self.terms[name].append(float(term.detach()))
        if step % KEEP_EVERY == 0 and step < total:
            self._keep()

    def look(self, step: int, figures: Figures) -> None:
        """What the network gives on the test set after this step."""
        self.looks[step] = figures
        if step % KEEP_EVERY == 0:
            self._keep()

    def learning(self) -> Learning:
        """At most a hundred points, each the mean since the one before."""
        if not self.total:  # Not trained by steps.
            return Learning((), {})
        parts = np.array_split(np.arange(self.total), min(self.total, _MOST_POINTS))
        means = {
            name: tuple(float(np.mean(np.take(values, part))) for part in parts)
            for name, values in self.terms.items()
        }
        return Learning(tuple(int(part[-1]) + 1 for part in parts), means)

    def best(self, lead: str) -> BestOnTest:
        """The first of the steps that do best on the test set by the figure ``lead``."""
        values = {step: float(getattr(f, lead)) for step, f in self.looks.items()}
        step = max(values, key=lambda each: (np.nan_to_num(values[each], nan=-1.0), -each))
        return BestOnTest(lead, step, self.looks[step], tuple(values), tuple(values.values()))

    def _keep(self) -> None:
        data = {
            "kind": KIND,
            "schema": SCHEMA,
            "code": code().sha256,
            "looking": self._looking,
            "seconds": self.seconds,
            "processor_s": self.processor_s,
            "terms": self.terms,
            "looks": {step: asdict(figures) for step, figures in self.looks.items()},
        }
        write_text(self.path, json_text(data))

    def _read(self) -> Mapping[str, Any]:
        try:
            data = read_record(self.path, "how a training goes", KIND, SCHEMA, _parsed)
        except InputError:
            return {}
        fits = (data["code"], data["looking"]) == (code().sha256, self._looking)
        return data if fits else {}

    def _take_up(self, done: int) -> None:
        """What was kept of the first ``done`` steps; what was done after the checkpoint goes."""
        for name, values in self._earlier["terms"].items():
            self.terms[name] = values[:done]
        looks: Mapping[int, Figures] = self._earlier["looks"]
        self.looks = {step: figures for step, figures in looks.items() if step <= done}


def checkpoint_path(record: Path) -> Path:
    """Where the checkpoint of a training is kept while it runs."""
    return record.with_suffix(".checkpoint")


def discard(record: Path) -> None:
    """Remove what is kept of a training on its way.

    Raises:
        OddframeError: it cannot be removed.
    """
    for path in (checkpoint_path(record), record.with_suffix(".course")):
        with translate_os_errors(path):
            path.unlink(missing_ok=True)


def _parsed(data: dict[str, Any]) -> dict[str, Any]:
    data["terms"] = {
        name: [math.nan if value is None else float(value) for value in values]
        for name, values in data["terms"].items()
    }
    data["looks"] = {int(step): figures_from(each) for step, each in data["looks"].items()}
    return data


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
