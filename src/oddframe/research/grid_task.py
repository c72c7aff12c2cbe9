"""One training of a grid: bags, steps, figures, and the record that is kept of it.

A training's history is kept beside its checkpoint: one that was killed resumes with all of it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from oddframe._utils.files import translate_os_errors, write_bytes
from oddframe.errors import InputError
from oddframe.features.lazy_array import AnyFeatures
from oddframe.methods.base import Loss
from oddframe.methods.scorer import ModelNetwork
from oddframe.research.benchmark import FALSE_ALARMS_PER_HOUR
from oddframe.research.clips import SplicedVideo
from oddframe.research.fold_figures import Figure, FoldFigures, compute_fold_figures
from oddframe.research.fold_training import (
    Scorer,
    as_training_videos,
    make_test_videos,
    network_scorer,
    score_part,
    training_bags,
)
from oddframe.research.protocol import BenchmarkProtocol, PartId, TrainTestPart
from oddframe.research.records import (
    BestOnTest,
    Cost,
    LossCurves,
    RecordFormat,
    TrainingRecord,
    current_code,
    facts_digest,
    protocol_facts,
    read_training,
    training_facts,
    write_training,
)
from oddframe.timeline import FloatArray
from oddframe.training.config import TrainConfig
from oddframe.training.loop import fit

# Steps between two checkpoints.
CHECKPOINT_EVERY = 100
# As UR-DMU's authors test their network: every 10 steps, from step 20 on.
TEST_EVERY, TEST_FROM = 10, 20
_MAX_POINTS = 100
# ".course" was the ending of the history's file before.
_UNFINISHED = (".checkpoint", ".history", ".course")


@dataclass(frozen=True)
class GridSetting:
    """What all trainings of a grid share."""

    dataset: str
    protocol: BenchmarkProtocol
    lead: str
    features_sha256: str
    folder: Path
    device: str = "cpu"
    best_on_test: bool = False


@dataclass(frozen=True)
class GridTask:
    """One training: a configuration on one part, with the name of the row that it is for."""

    name: str
    config: TrainConfig
    repeat: int
    fold: int

    @property
    def part_id(self) -> PartId:
        return self.repeat, self.fold


def training_digest(config: TrainConfig, setting: GridSetting) -> str:
    """sha256 (hex) of everything that trainings by ``config`` depend on, except repeat and fold."""
    return facts_digest({
        "training": training_facts(config),
        "protocol": protocol_facts(setting.protocol.for_config(config)),
        "dataset": setting.dataset,
        "features": setting.features_sha256,
    })  # fmt: skip


def record_path(task: GridTask, setting: GridSetting) -> Path:
    """Where the record of a training is or would be; equal trainings have equal paths."""
    digest = training_digest(task.config, setting)
    folder = setting.folder / f"{task.config.method.name}-{digest[:12]}"
    return folder / f"r{task.repeat}f{task.fold}.json"


def weights_path(record: Path) -> Path:
    """Where the network of a training is; only networks of the first part are kept."""
    return record.with_suffix(".safetensors")


def find_training(task: GridTask, setting: GridSetting) -> TrainingRecord | None:
    """The record of a training; None if there is none, or it lacks what is asked for."""
    try:
        found = read_training(record_path(task, setting))
    except InputError:  # Missing, of an older version, or damaged: the training is repeated.
        return None
    return None if setting.best_on_test and found.best_on_test is None else found


def _remove(record: Path, suffixes: Sequence[str] = _UNFINISHED) -> None:
    for suffix in suffixes:
        path = record.with_suffix(suffix)
        with translate_os_errors(path):
            path.unlink(missing_ok=True)


def remove_records(tasks: Sequence[GridTask], setting: GridSetting) -> None:
    """Remove records, checkpoints and histories of these trainings, so that they are repeated."""
    for task in tasks:
        _remove(record_path(task, setting), (".json", *_UNFINISHED))


@dataclass
class _History:
    """What the file of a ``TrainingHistory`` holds."""

    code: str
    best_on_test: bool
    seconds: float = 0.0
    processor_s: float = 0.0
    terms: dict[str, list[Figure]] = field(default_factory=lambda: defaultdict(list))
    tests: dict[int, FoldFigures] = field(default_factory=dict)


_HISTORY_FORMAT = RecordFormat(_History, "oddframe training history", 1, "a training's history")


class TrainingHistory:
    """The losses, the figures on the test set and the time of a training so far.

    It is written before each checkpoint, so that it reaches at least as far. A checkpoint of other
    code, or of a training that was tested at other steps, is removed: that training starts again.
    """

    def __init__(self, record: Path, *, best_on_test: bool):
        self.checkpoint = record.with_suffix(".checkpoint")
        self.total = 0
        self._path = record.with_suffix(".history")
        self._history = _History(current_code().sha256, best_on_test)
        self._earlier = self._read() if self.checkpoint.exists() else None
        if self._earlier is None:
            _remove(record)
        earlier = self._earlier or self._history
        self._start = time.monotonic() - earlier.seconds
        self._processor_start = time.process_time() - earlier.processor_s

    @property
    def seconds(self) -> float:
        """Duration, including that of earlier processes; ``processor_s`` likewise."""
        return time.monotonic() - self._start

    @property
    def processor_s(self) -> float:
        return time.process_time() - self._processor_start

    def add_step(self, step: int, total: int, loss: Loss) -> None:
        terms = self._history.terms
        if step == 1:  # A training that collapsed starts again.
            terms.clear()
            self._history.tests.clear()
        elif not self.total and self._earlier is not None:
            # Steps after the checkpoint are repeated.
            terms |= {name: each[: step - 1] for name, each in self._earlier.terms.items()}
            tests = self._earlier.tests.items()
            self._history.tests = {at: figures for at, figures in tests if at < step}
        self.total = total
        for name, term in {"loss": loss.total, **loss.terms}.items():
            terms[name].append(float(term.detach()))
        if step % CHECKPOINT_EVERY == 0 and step < total:
            self._write()

    def add_test(self, step: int, figures: FoldFigures) -> None:
        self._history.tests[step] = figures
        if step % CHECKPOINT_EVERY == 0:
            self._write()

    def loss_curves(self) -> LossCurves:
        """At most a hundred points, each the mean since the point before."""
        if not self.total:  # Not trained by steps.
            return LossCurves((), {})
        parts = np.array_split(np.arange(self.total), min(self.total, _MAX_POINTS))
        means = {
            name: tuple(float(np.mean(np.take(values, part))) for part in parts)
            for name, values in self._history.terms.items()
        }
        return LossCurves(tuple(int(part[-1]) + 1 for part in parts), means)

    def best_on_test(self, lead: str) -> BestOnTest:
        """The step with the best figure ``lead`` on the test set, the first one of equals."""
        tests = self._history.tests
        values = {step: float(getattr(figures, lead)) for step, figures in tests.items()}
        step = max(values, key=lambda each: (np.nan_to_num(values[each], nan=-1.0), -each))
        return BestOnTest(lead, step, tests[step], tuple(values), tuple(values.values()))

    def _write(self) -> None:
        self._history.seconds, self._history.processor_s = self.seconds, self.processor_s
        _HISTORY_FORMAT.write(self._path, self._history)

    def _read(self) -> _History | None:
        try:
            found = _HISTORY_FORMAT.read(self._path)
        except InputError:
            return None
        now = self._history
        return found if (found.code, found.best_on_test) == (now.code, now.best_on_test) else None


def train_task(task: GridTask, part: TrainTestPart, setting: GridSetting) -> TrainingRecord:
    """Train, test, and write the record; for the first part, also the network.

    The config's seed is that of weights, noise and order, and is another one for each part; splits
    and spliced videos depend on the protocol's seed only.
    """
    start = time.monotonic()
    config, protocol = task.config, setting.protocol.for_config(task.config)
    part_seed = protocol.part_seed(part)
    seed = config.recipe.seed + part_seed
    bags = training_bags(part.train, protocol, part_seed)
    videos, tiled = make_test_videos(part, protocol), bags[0].tiles > 1
    rule = config.events.rule(1.0)
    path = record_path(task, setting)
    prepared_s, last = time.monotonic() - start, config.full_recipe().steps
    history = TrainingHistory(path, best_on_test=setting.best_on_test)

    def test(scorer: Scorer) -> FoldFigures:
        """The figures of a scorer; those that need a threshold of other folds are nan."""
        result = score_part(part, videos, scorer, protocol)
        return compute_fold_figures((result,), rule, FALSE_ALARMS_PER_HOUR)[0]

    def on_network(step: int, network: ModelNetwork) -> None:
        if step >= TEST_FROM or step == last:
            history.add_test(step, test(network_scorer(network, tiled=tiled)))

    seeded = config.with_recipe(seed=seed)
    result = fit(
        as_training_videos(bags, config),
        seeded,
        device=setting.device,
        checkpoint=history.checkpoint,
        checkpoint_every=CHECKPOINT_EVERY,
        on_step=history.add_step,
        on_network=on_network if setting.best_on_test else None,
        network_every=TEST_EVERY,
    )
    training_s = history.processor_s
    scorer = _TimedScorer(network_scorer(result.network, tiled=tiled))
    figures = test(scorer)
    if task.part_id == (0, 0):  # Figures show this network. Written before its record.
        tensors = result.network.state_dict().items()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors}
        write_bytes(weights_path(path), save(state))
    training = TrainingRecord(
        dataset=setting.dataset,
        figures=figures,
        steps=history.total,
        seed=seed,
        config=seeded.model_dump(mode="json"),
        facts=training_facts(config),
        protocol=protocol_facts(protocol),
        features_sha256=setting.features_sha256,
        code=current_code(),
        torch=torch.__version__,
        device=setting.device,
        threads=torch.get_num_threads(),
        seconds=round(prepared_s + history.seconds, 1),
        learning=history.loss_curves(),
        warnings=result.warnings,
        best_on_test=history.best_on_test(setting.lead) if setting.best_on_test else None,
        cost=Cost(
            _count_parameters(result.network.network),
            round(training_s, 2),
            round(scorer.ms_per_hour(videos), 2),
            setting.device,
        ),
    )
    write_training(path, training)
    _remove(path)
    return training


class _TimedScorer:
    """A scorer whose processor time is measured."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self._snippets, self._seconds = 0, 0.0

    def __call__(self, array: AnyFeatures) -> FloatArray:
        start = time.process_time()
        scores = self._scorer(array)
        self._seconds += time.process_time() - start
        self._snippets += array.shape[1]
        return scores

    def ms_per_hour(self, videos: Sequence[SplicedVideo]) -> float:
        """Milliseconds for an hour of video like these; 0 before anything is scored."""
        clips = [clip for video in videos for clip in video.clips]
        snippets = sum(clip.timebase.n_snippets for clip in clips)
        hours = sum(clip.timebase.duration_s for clip in clips) / 3600
        return 1000 * self._seconds / max(1, self._snippets) * snippets / hours


def _count_parameters(network: nn.Module) -> int:
    """Number of parameters; of a method without any, of the values in its buffers."""
    learned = sum(p.numel() for p in network.parameters())
    return learned or sum(b.numel() for b in network.buffers())
