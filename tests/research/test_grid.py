"""Grids: every training is recorded at once, a stopped grid goes on, processes fit into memory."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.errors import OddframeError
from oddframe.research import grid
from oddframe.research.clips import BenchmarkClip
from oddframe.research.grid import (
    GridPlan,
    Session,
    free_memory,
    plan_grid,
    resident_bytes,
    run_grid,
)
from oddframe.research.grid_task import GridTask, record_path, remove_records
from oddframe.research.records import TrainingRecord, read_training
from oddframe.research.reproduce.tables import (
    TableSpec,
    collect_table,
    config_for_method,
    table_spec,
    table_tasks,
)
from oddframe.timeline import Timebase
from tests.alone import alone
from tests.research.tiny import tiny_config, tiny_dataset, tiny_session

ONE_PROCESS = GridPlan(1, 1)


def spec_of(session: Session, name: str = "table3") -> TableSpec:
    return table_spec(name, session.setting.dataset, session.config)


class Seen:
    """Records the names of the trainings; stops after so many."""

    def __init__(self, stop: int | None = None):
        self.names: list[str] = []
        self.stop = stop

    def __call__(self, done: int, _total: int, task: GridTask, _training: TrainingRecord) -> None:
        self.names.append(task.name)
        if done == self.stop:
            raise KeyboardInterrupt


def run(session: Session, seen: Seen, plan: GridPlan = ONE_PROCESS) -> list[GridTask]:
    tasks = table_tasks(spec_of(session), session.parts)
    run_grid(session, tasks, plan, seen)
    return tasks


def test_a_stopped_grid_goes_on(tmp_path: Path) -> None:
    session, first, second, third = tiny_session(tmp_path), Seen(stop=2), Seen(), Seen()
    with pytest.raises(KeyboardInterrupt):
        run(session, first)
    tasks = table_tasks(spec_of(session), session.parts)
    assert sum(record_path(task, session.setting).exists() for task in tasks) == 2
    assert len(session.missing(tasks)) == 4
    run(tiny_session(tmp_path), second)
    assert len(second.names) == 4
    run(session, third)
    assert third.names == []
    remove_records(tasks[:1], session.setting)
    run(session, third)
    assert third.names == [tasks[0].name]


def test_a_training_with_a_damaged_record_is_repeated(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    tasks = run(session, Seen())
    record_path(tasks[1], session.setting).write_text('{"kind": "half a')
    again = Seen()
    run(session, again)
    assert again.names == [tasks[1].name]


def test_another_recipe_or_other_features_have_other_records(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    (task, *_) = table_tasks(spec_of(session), session.parts)
    path = record_path(task, session.setting)
    other = replace(task, config=tiny_config(steps=4))
    assert record_path(other, session.setting).parent != path.parent
    # Settings that do not affect a training do not change its path.
    same = replace(task, config=task.config.model_copy(update={"knows": "fights"}))
    assert record_path(same, session.setting) == path
    array = np.load(session.source.dataset.videos[0].path)
    np.save(session.source.dataset.videos[0].path, array + 1)
    changed = tiny_session(tmp_path, seeds=1, dataset=session.source.dataset)
    assert record_path(task, changed.setting).parent != path.parent


def test_rows_of_several_tables_are_trained_once(tmp_path: Path) -> None:
    session, seen = tiny_session(tmp_path, seeds=1), Seen()
    specs = [spec_of(session, name) for name in ("table3", "table6")]
    tasks = [task for spec in specs for task in table_tasks(spec, session.parts)]
    assert len(tasks) == 7
    run_grid(session, tasks, ONE_PROCESS, seen)
    tables = [collect_table(session, spec) for spec in specs]
    assert len(seen.names) == 6
    whole = [table.reference.trainings[0] for table in tables]
    assert whole[0] == whole[1]


def test_a_record_holds_what_was_run(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    tasks = run(session, Seen())
    records = [read_training(record_path(task, session.setting)) for task in tasks]
    first = records[0]
    assert first.features_sha256 == session.setting.features_sha256
    assert first.config["recipe"]["seed"] == first.seed
    assert first.facts["settings"]["memory"] == "anomaly"
    assert {record.seed for record in records} == {2022, 4022}
    assert len(first.code.sha256) == 64
    assert first.learning.steps == (1, 2, 3)
    assert set(first.learning.terms) > {"loss", "cls", "dm"}
    assert first.best_on_test is None


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        session = tiny_session(tmp_path / name, seeds=1)
        run(session, Seen())
        found.append(collect_table(session, spec_of(session)))
    ours = [[line.figures() for line in table.lines] for table in found]
    assert ours[0] == ours[1]


def test_trainings_use_the_seed_of_the_configuration(tmp_path: Path) -> None:
    whole = []
    for seed in (7, 8):
        session = tiny_session(tmp_path, tiny_config(seed=seed), seeds=1)
        tasks = run(session, Seen())
        records = [read_training(record_path(task, session.setting)) for task in tasks]
        assert {record.seed for record in records} == {seed}
        whole.append(records[-1])
    assert whole[0].learning.terms["loss"] != whole[1].learning.terms["loss"]
    # Training and test videos do not depend on that seed.
    assert whole[0].protocol == whole[1].protocol
    linear = config_for_method(tiny_config(seed=8), "linear")
    assert linear.recipe.seed == 8


def test_a_failed_training_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = grid.train_task

    def broken(task: GridTask, *rest: object) -> TrainingRecord:
        if task.name == "normal memory":
            raise OddframeError("the loss is nan")
        return whole(task, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(grid, "train_task", broken)
    session = tiny_session(tmp_path, seeds=1)
    spec = spec_of(session)
    failed = run_grid(session, table_tasks(spec, session.parts), ONE_PROCESS)
    table = collect_table(session, spec, failed)
    assert [len(line.trainings) for line in table.lines] == [1, 0, 1]
    assert any("the loss is nan" in line for line in table.warnings)
    assert any("normal memory: 0 of 1" in line for line in table.warnings)


@pytest.mark.slow
def test_parallel_processes_give_the_same_figures(tmp_path: Path) -> None:
    found = []
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        session = tiny_session(tmp_path / str(jobs), seeds=1)
        spec = spec_of(session)
        run_grid(session, table_tasks(spec, session.parts), GridPlan(jobs, 1))
        table = collect_table(session, spec)
        found.append([line.figures() for line in table.lines])
    assert found[0] == found[1]
    assert all(len(line) == 1 for line in found[0])


def interrupt_once() -> None:
    """Ctrl-C for the whole group, as from a terminal."""
    with suppress(FileExistsError):
        Path("interrupted").touch(exist_ok=False)
        os.killpg(0, signal.SIGINT)


@pytest.mark.slow
def test_ctrl_c_while_processes_start_ends_them_silently(tmp_path: Path) -> None:
    run = alone(
        tmp_path,
        (
            "import signal",
            "from pathlib import Path",
            "from oddframe.research.grid import GridPlan",
            "from tests.research import test_grid as here",
            "if __name__ == '__mp_main__': here.interrupt_once()  # A process, before our code.",
        ),
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "session = here.tiny_session(Path.cwd(), seeds=1)",
        "try:",
        "    here.run(session, here.Seen(), GridPlan(2, 1))",
        "except KeyboardInterrupt:",
        "    print('heard')",
    )
    assert run.communicate(timeout=120) == (b"heard\n", b"")


def clips_of_bytes(count: int, dtype: type = np.float32) -> list[BenchmarkClip]:
    array = np.zeros((1, 100, 250), dtype)
    return [
        BenchmarkClip(str(i), array.copy(), Timebase(25.0, 1600), bool(i % 2), str(i))
        for i in range(count)
    ]


def test_processes_fit_into_memory() -> None:
    clips = clips_of_bytes(10)
    assert resident_bytes(clips) == 10 * 100_000
    config = tiny_config()
    assert plan_grid(8, 20, clips, config, free=100 * 10**9).jobs == 8
    assert plan_grid(8, 3, clips, config, free=100 * 10**9).jobs == 3
    few = plan_grid(8, 20, clips, config, free=int(2.5 * 10**9))
    assert few.jobs == 2
    assert "8 were asked for" in few.about
    tight = plan_grid(8, 20, clips, config, free=10**8)
    assert tight.jobs == 1
    assert "not even one may fit" in tight.about
    # A step at the published size holds more: three gigabytes where it is not taken in parts.
    large = config.with_recipe(normal_bags=64, abnormal_bags=64, segments=200)
    wide = [replace(clip, array=np.zeros((1, 2, 1024), np.float32)) for clip in clips]
    assert plan_grid(8, 20, wide, large, free=10 * 10**9).jobs == 2
    assert free_memory() > 0


def test_features_mapped_from_a_file_take_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 100, 250), np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    clip = BenchmarkClip("a", mapped, Timebase(25.0, 1600), False, "a")
    assert resident_bytes([clip]) == 0


@pytest.mark.parametrize(("name", "crops"), [("ucf_crime", 10), ("xd_violence", 5)])
def test_the_published_protocol_on_files_of_several_crops(
    tmp_path: Path, name: str, crops: int
) -> None:
    (tmp_path / "data").mkdir()
    dataset = tiny_dataset(tmp_path / "data", name, crops)
    session = tiny_session(tmp_path, seeds=1, dataset=dataset)
    (part,) = session.parts
    assert (len(part.train), len(part.test)) == (6, 6)
    assert session.setting.lead == {"ucf_crime": "auc", "xd_violence": "ap_trapezoid"}[name]
    spec = table_spec("table1" if name == "ucf_crime" else "table2", name, session.config)
    run_grid(session, table_tasks(spec, session.parts), ONE_PROCESS)
    table = collect_table(session, spec)
    assert all(len(line.trainings) == 1 for line in table.trained)
    assert table.published[0].field == table.columns[0].field
