"""The league: every method on the same draws, seeds, features and bags, by one recipe.

Networks are tested after the last step: no test video chooses anything.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from oddframe.backbones.engines import DeviceName
from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import has_precomputed_features
from oddframe.errors import OddframeError, UsageError
from oddframe.methods.registry import get_method
from oddframe.research.benchmark import Benchmark
from oddframe.research.benchmarks import get_benchmark
from oddframe.research.fold_figures import INTERVAL_PRECISION
from oddframe.research.grid import (
    FailedTask,
    GridProgress,
    Session,
    TrainingOutcome,
    benchmark_config,
    plan_grid,
    prepare_session,
    run_grid,
)
from oddframe.research.grid_task import GridTask, find_training, train_task, training_digest
from oddframe.research.leaderboard import competitors
from oddframe.research.leaderboard.competitors import (
    Competitor,
    RateSearch,
    group_by_features,
    list_competitors,
    read_rates,
    validation_session,
    with_rates,
    write_rates,
)
from oddframe.research.leaderboard.record import (
    EntryTraining,
    FailedTraining,
    League,
    LeagueEntry,
    read_league,
    read_leagues,
    write_league,
)
from oddframe.research.leaderboard.report import write_league_table
from oddframe.research.protocol import PartId, RandomDraws, TrainTestPart
from oddframe.research.records import TrainingRecord, current_code, facts_digest, protocol_facts
from oddframe.training.search import format_time_budget

RATES_FILE = "rates.json"
# A loss that falls by more than this share of its whole fall in the last quarter has not converged.
_STILL_FALLING = 0.05
_FALLING = "the loss still fell at the end"


@dataclass(frozen=True)
class ComparisonGroup:
    """Rows that read the same features, and the session that has these features.

    Trainings in the ``earlier`` record of the league are not repeated, even where their own records
    are gone.
    """

    session: Session
    rows: tuple[Competitor, ...]
    earlier: League | None = None

    @property
    def tasks(self) -> list[GridTask]:
        """All its trainings, part by part: a league that is stopped early has some of every row."""
        return [_task(row, part) for part in self.session.parts for row in self.rows]

    @property
    def missing(self) -> list[GridTask]:
        done = {row.name: self.trainings(row) for row in self.rows}
        pairs = [(part, row) for part in self.session.parts for row in self.rows]
        return [_task(row, part) for part, row in pairs if part.part_id not in done[row.name]]

    def trainings(self, row: Competitor) -> dict[PartId, EntryTraining]:
        """The trainings of a row by part, from their own records or the league's earlier one.

        The earlier record may also have parts that are not asked for now.
        """
        setting = self.session.setting
        digest = training_digest(row.config, setting)
        entries = self.earlier.entries if self.earlier else ()
        recorded = [each for entry in entries if entry.digest == digest for each in entry.trainings]
        found = {each.figures.part_id: each for each in recorded}
        for part in self.session.parts:
            if (training := find_training(_task(row, part), setting)) is not None:
                found[part.part_id] = _entry_training(training)
        return found


def _task(row: Competitor, part: TrainTestPart) -> GridTask:
    return GridTask(row.title, row.config, *part.part_id)


def count_repeats(benchmark: Benchmark, draws: int | None, seeds: int | None) -> int:
    """How often the benchmark's protocol is repeated: its number of draws, or of seeds."""
    protocol = benchmark.protocol
    if isinstance(protocol.split, RandomDraws):
        if seeds is not None:
            raise UsageError(
                f"--seeds: each draw of {benchmark.config} has a seed of its own; give --draws"
            )
        return draws or protocol.repeats
    if draws is not None:
        raise UsageError(f"--draws: {benchmark.config} is not drawn; give --seeds")
    return seeds or (protocol.repeats if benchmark.own_split else 1)


def prepare_league(
    dataset: Dataset,
    out: Path,
    *,
    store: Path,
    methods: Sequence[str] = (),
    draws: int | None = None,
    seeds: int | None = None,
    own_rates: bool = False,
    config: str | None = None,
    device: DeviceName = "auto",
    decoders: int = 1,
    progress: GridProgress,
) -> list[ComparisonGroup]:
    """Extract the features of a league, and divide the methods into groups that read the same.

    ``draws`` of the training clips, where the benchmark draws them, or ``seeds`` where it does not;
    None: its number. ``own_rates``: ignore the learning rates that were chosen before.
    """
    repeats = count_repeats(get_benchmark(dataset.name), draws, seeds)
    rows = list_competitors(
        benchmark_config(dataset.name, config),
        methods,
        frames=not any(has_precomputed_features(video) for video in dataset.videos),
    )
    if not own_rates and (rates := read_rates(out / RATES_FILE)) is not None:
        rows = with_rates(rows, rates)
    record = out / f"{dataset.name}.json"
    earlier = read_league(record) if record.exists() else None
    groups = []
    for group in group_by_features(rows):
        session = prepare_session(
            dataset,
            group[0].config,
            out,
            store=store,
            seeds=repeats,
            device=device,
            decoders=decoders,
            progress=progress,
        )
        groups.append(ComparisonGroup(session, group, earlier))
    return groups


def choose_rates(
    groups: Sequence[ComparisonGroup], out: Path, jobs: int, progress: GridProgress
) -> Path:
    """Try the learning rates of one group on validation folds; the file with the results."""
    if len(groups) > 1:
        raise UsageError("--choose-rates: name --methods that read the same features")
    search = RateSearch(validation_session(groups[0].session), groups[0].rows)
    session, tasks = search.session, search.tasks
    if not tasks:
        raise UsageError("--choose-rates: no method with a learning rate is named")
    missing = len(session.missing(tasks))
    progress.message(f"{missing} of {len(tasks)} trainings to do")

    def on_training(done: int, total: int, task: GridTask, outcome: TrainingOutcome) -> None:
        note = ""
        if isinstance(outcome, TrainingRecord):
            note = f", AUC of videos {100 * outcome.figures.clip_auc:.1f}"
        progress.training(done, total, task, outcome, note)

    plan = plan_grid(jobs, missing, session.clips, session.config)
    run_grid(session, tasks, plan, on_training)
    path, rates = out / RATES_FILE, search.collect()
    if (earlier := read_rates(path)) is not None:
        rates = earlier.merged_into(rates)
    write_rates(path, rates)
    return path


def rank_methods(
    groups: Sequence[ComparisonGroup], out: Path, table: Path, jobs: int, progress: GridProgress
) -> Path:
    """Train what is missing. After each training, write the record and the table of all leagues."""
    plans = [
        plan_grid(jobs, len(group.missing), group.session.clips, group.session.config)
        for group in groups
    ]
    estimate = TimeEstimate(groups, min(plan.jobs for plan in plans))
    pending = [task for group in groups for task in group.missing]
    total, failed = len(pending), list[FailedTask]()

    def write() -> None:
        league = collect_league(groups, failed)
        write_league(out / f"{league.dataset}.json", league)
        write_league_table(read_leagues(out), read_rates(out / RATES_FILE), table)

    def on_training(_done: int, _total: int, task: GridTask, outcome: TrainingOutcome) -> None:
        if isinstance(outcome, TrainingRecord):
            estimate.measured[task.name].append(outcome.seconds)
        else:
            failed.append((task, outcome))
        pending[:] = [each for each in pending if each != task]
        left = format_time_budget(estimate.remaining(pending))
        progress.training(total - len(pending), total, task, outcome, f"; about {left} left")
        write()

    if pending:
        count = sum(len(group.tasks) for group in groups)
        progress.message(f"{total} of {count} trainings to do, in {plans[0].about}")
        for name, seconds, number in estimate.measure():
            about = f"{number} of about {format_time_budget(seconds)} each"
            progress.message(f"{name}: {about if seconds else 'could not be timed'}")
        progress.message(f"about {format_time_budget(estimate.remaining(pending))} in all")
    for group, plan in zip(groups, plans, strict=True):
        run_grid(group.session, group.missing, plan, on_training)
    write()
    return table


def collect_league(groups: Sequence[ComparisonGroup], failed: Sequence[FailedTask] = ()) -> League:
    """The league of one benchmark from the trainings that are done by now.

    Rows of the earlier record that are not trained now stay, if their features, steps and protocol
    are the same. So do repeats of a row that are not asked for now.
    """
    session, earlier = groups[0].session, groups[0].earlier
    setting = session.setting
    benchmark = get_benchmark(setting.dataset)
    recipe = session.config.full_recipe()
    entries = tuple(_entry(group, row, failed) for group in groups for row in group.rows)
    parts = {part.part_id for part in session.parts}
    league = League(
        dataset=setting.dataset,
        title=benchmark.title,
        columns=(*benchmark.training_columns, INTERVAL_PRECISION),
        parts=tuple(sorted(parts.union(*(entry.figures_by_part for entry in entries)))),
        steps=competitors.STEPS,
        segments=recipe.segments,
        bags=(recipe.normal_bags, recipe.abnormal_bags),
        average=recipe.average,
        joined=session.config.bags.mode == "joined",
        protocol=protocol_facts(setting.protocol),
        features_sha256=setting.features_sha256,
        code=current_code(),
        entries=entries,
    )
    return league if earlier is None else _with_rows_of(earlier, league)


def _with_rows_of(earlier: League, league: League) -> League:
    """The league, with the other rows of the earlier one that are comparable."""
    # Methods that read frames have features of their own.
    only_frames = all(get_method(entry.method).backbones for entry in league.entries)
    digests = [facts_digest(each.protocol) for each in (earlier, league)]
    if earlier.steps != league.steps or digests[0] != digests[1]:
        return league
    if not only_frames and earlier.features_sha256 != league.features_sha256:
        return league
    names = {entry.name for entry in league.entries}
    others = tuple(entry for entry in earlier.entries if entry.name not in names)
    base = replace(earlier, code=league.code) if only_frames else league
    parts = tuple(sorted({*earlier.parts, *league.parts})) if others else league.parts
    return replace(base, parts=parts, entries=(*league.entries, *others))


def _entry(group: ComparisonGroup, row: Competitor, failed: Sequence[FailedTask]) -> LeagueEntry:
    trainings = [training for _, training in sorted(group.trainings(row).items())]
    method, recipe = row.config.chosen_method()[0], row.config.full_recipe()
    about = f"{recipe.optimiser}, {recipe.lr:g}, {recipe.weight_decay:g}"
    about += f", norm {recipe.clip_norm:g}" if recipe.clip_norm else ""
    notes = _notes(trainings)
    if method.backbones:
        notes.insert(0, f"looks at frames, {row.config.features.backbone}")
    return LeagueEntry(
        name=row.name,
        title=row.title,
        method=method.name,
        recipe="none" if method.closed_form else about,
        digest=training_digest(row.config, group.session.setting),
        trainings=tuple(trainings),
        notes=tuple(notes),
        failed=tuple(
            FailedTraining(*task.part_id, str(error))
            for task, error in failed
            if task.config == row.config
        ),
    )


def _entry_training(training: TrainingRecord) -> EntryTraining:
    cost = training.cost and replace(training.cost, device=training.device)
    warnings = training.warnings + (() if has_converged(training) else (_FALLING,))
    return EntryTraining(training.figures, cost, warnings, training.code.sha256)


def _notes(trainings: Sequence[EntryTraining]) -> list[str]:
    """The warnings about a row's figures, each once."""
    warnings = [line for training in trainings for line in training.warnings]
    notes = [
        f"{line} ({warnings.count(line)} of {len(trainings)} trainings)"
        for line in dict.fromkeys(warnings)
        # One-class methods always leave abnormal videos aside.
        if line != _FALLING and "left aside" not in line
    ]
    if 2 * (falling := warnings.count(_FALLING)) > len(trainings):
        notes.append(f"not converged: {_FALLING} in {falling} of {len(trainings)} trainings")
    return notes


def has_converged(training: TrainingRecord) -> bool:
    """Whether the loss hardly fell from the third quarter of the training to the last."""
    loss = np.array(training.learning.terms.get("loss", ()), dtype=np.float64)
    if len(loss) < 20:
        return True
    quarter = len(loss) // 4
    last = loss[-quarter:].mean()
    start, before = loss[:3].mean(), loss[-2 * quarter : -quarter].mean()
    return bool(before - last <= _STILL_FALLING * max(start - last, 1e-9))


# Two short trainings tell what is constant from what every step takes.
_FEW_STEPS, _MORE_STEPS = 2, 6


def estimate_seconds(task: GridTask, session: Session) -> float:
    """Seconds that a training will take, from two short ones; 0 if it cannot be trained."""
    try:
        few, more = (_time_training(task, session, n) for n in (_FEW_STEPS, _MORE_STEPS))
    except (OddframeError, RuntimeError, ValueError):  # The training itself will say why.
        return 0.0
    if task.config.chosen_method()[0].closed_form:
        return few
    per_step = max(0.0, more - few) / (_MORE_STEPS - _FEW_STEPS)
    return few + (task.config.recipe.steps - _FEW_STEPS) * per_step


def _time_training(task: GridTask, session: Session, steps: int) -> float:
    part = next(part for part in session.parts if part.part_id == task.part_id)
    short = replace(task, config=task.config.with_recipe(steps=steps))
    with TemporaryDirectory() as folder:
        start = time.monotonic()
        train_task(short, part, replace(session.setting, folder=Path(folder)))
        return time.monotonic() - start


@dataclass
class TimeEstimate:
    """Seconds per training of each row: estimated first, then measured."""

    groups: Sequence[ComparisonGroup]
    jobs: int = 1
    estimated: dict[str, float] = field(default_factory=dict)
    measured: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def measure(self) -> Iterator[tuple[str, float, int]]:
        """Time one training of each row with missing ones: its name, seconds, and their number.

        A row that was trained before takes as long as it did then.
        """
        for group in self.groups:
            for task in group.tasks:
                if (training := find_training(task, group.session.setting)) is not None:
                    self.measured[task.name].append(training.seconds)
            missing = group.missing
            for name, number in Counter(task.name for task in missing).items():
                if name not in self.measured:
                    task = next(task for task in missing if task.name == name)
                    self.estimated[name] = estimate_seconds(task, group.session)
                yield name, self._seconds(name), number

    def remaining(self, tasks: Sequence[GridTask]) -> float:
        """Seconds that these trainings will take."""
        return sum(self._seconds(task.name) for task in tasks) / self.jobs

    def _seconds(self, name: str) -> float:
        measured = self.measured.get(name)
        return float(np.mean(measured)) if measured else self.estimated.get(name, 0.0)
