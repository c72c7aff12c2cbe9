"""Grids: every training is kept at once, a stopped grid goes on, processes fit into memory."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.errors import OddframeError
from oddframe.research.grid import Plan, free_memory, plan, resident, run_grid
from oddframe.research.grid_task import Task, record_path
from oddframe.research.records import Training, read_training
from oddframe.research.reproduce.reproduce import collected, tasks_of
from oddframe.research.reproduce.tables import TableSpec, method_config, table_of
from oddframe.research.session import Session, plan_for, reproduce
from oddframe.research.splice import Clip
from oddframe.timeline import Timebase
from tests.alone import alone
from tests.research.tiny import tiny_config, tiny_dataset, tiny_session

ALONE = Plan(1, 1, "")


def spec_of(session: Session, name: str = "table3") -> TableSpec:
    return table_of(name, session.setting.dataset, session.config)


class Seen:
    """Remembers what was trained; stops after so many."""

    def __init__(self, stop: int | None = None):
        self.names: list[str] = []
        self.stop = stop

    def __call__(self, done: int, _total: int, task: Task, _training: Training) -> None:
        self.names.append(task.name)
        if done == self.stop:
            raise KeyboardInterrupt


def run(session: Session, seen: Seen, how: Plan = ALONE) -> list[Task]:
    tasks = tasks_of(spec_of(session), session.parts)
    run_grid(tasks, session.setting, session.source, session.clips, how, seen)
    return tasks


def test_a_stopped_grid_goes_on(tmp_path: Path) -> None:
    session, first, second, third = tiny_session(tmp_path), Seen(stop=2), Seen(), Seen()
    with pytest.raises(KeyboardInterrupt):
        run(session, first)
    tasks = tasks_of(spec_of(session), session.parts)
    assert sum(record_path(task, session.setting).exists() for task in tasks) == 2
    assert session.missing(tasks) == 4
    run(tiny_session(tmp_path), second)
    assert len(second.names) == 4
    run(session, third)
    assert third.names == []
    session.forget(tasks[:1])
    run(session, third)
    assert third.names == [tasks[0].name]


def test_a_damaged_record_is_made_anew(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    tasks = run(session, Seen())
    record_path(tasks[1], session.setting).write_text('{"kind": "half a')
    again = Seen()
    run(session, again)
    assert again.names == [tasks[1].name]


def test_another_recipe_or_other_features_find_no_record_of_these(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1)
    (task, *_) = tasks_of(spec_of(session), session.parts)
    path = record_path(task, session.setting)
    other = replace(task, config=tiny_config(steps=4))
    assert record_path(other, session.setting).parent != path.parent
    # What does not change a training does not change where it is.
    same = replace(task, config=task.config.model_copy(update={"knows": "fights"}))
    assert record_path(same, session.setting) == path
    array = np.load(session.source.dataset.videos[0].path)
    np.save(session.source.dataset.videos[0].path, array + 1)
    changed = tiny_session(tmp_path, seeds=1, dataset=session.source.dataset)
    assert record_path(task, changed.setting).parent != path.parent


def test_rows_of_several_tables_are_trained_once(tmp_path: Path) -> None:
    session, seen = tiny_session(tmp_path, seeds=1), Seen()
    specs = [spec_of(session, name) for name in ("table3", "table6")]
    how, tasks = plan_for(session, specs, 1)
    assert len(tasks) == 7
    tables = reproduce(session, specs, tasks, how, seen)
    assert len(seen.names) == 6
    whole = [table.reference.trainings[0] for table in tables]
    assert whole[0] == whole[1]


def test_a_record_says_what_was_run(tmp_path: Path) -> None:
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
        found.append(collected(spec_of(session), session.setting, session.parts))
    ours = [[line.figures() for line in table.lines] for table in found]
    assert ours[0] == ours[1]


def test_the_seed_of_the_configuration_is_the_trainings(tmp_path: Path) -> None:
    whole = []
    for seed in (7, 8):
        session = tiny_session(tmp_path, tiny_config(seed=seed), seeds=1)
        tasks = run(session, Seen())
        records = [read_training(record_path(task, session.setting)) for task in tasks]
        assert {record.seed for record in records} == {seed}
        whole.append(records[-1])
    assert whole[0].learning.terms["loss"] != whole[1].learning.terms["loss"]
    # Which videos are learned from and tested on is not the seed's business.
    assert whole[0].protocol == whole[1].protocol
    linear = method_config(tiny_config(seed=8), "linear")
    assert linear.recipe.seed == 8


def test_a_training_that_fails_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from oddframe.research import grid as reproduce_grid

    whole = reproduce_grid.train

    def broken(task: Task, *rest: object) -> Training:
        if task.name == "normal memory":
            raise OddframeError("the loss is nan")
        return whole(task, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(reproduce_grid, "train", broken)
    session = tiny_session(tmp_path, seeds=1)
    spec = spec_of(session)
    (table,) = reproduce(session, [spec], tasks_of(spec, session.parts), ALONE)
    assert [len(line.trainings) for line in table.lines] == [1, 0, 1]
    assert any("the loss is nan" in line for line in table.warnings)
    assert any("normal memory: 0 of 1" in line for line in table.warnings)


@pytest.mark.slow
def test_processes_side_by_side_give_the_same(tmp_path: Path) -> None:
    found = []
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        session = tiny_session(tmp_path / str(jobs), seeds=1)
        spec = spec_of(session)
        tasks = tasks_of(spec, session.parts)
        (table,) = reproduce(session, [spec], tasks, Plan(jobs, 1, ""))
        found.append([line.figures() for line in table.lines])
    assert found[0] == found[1]
    assert all(len(line) == 1 for line in found[0])


def interrupt_once() -> None:
    """Ctrl-C for the whole group, as from a terminal."""
    with suppress(FileExistsError):
        Path("interrupted").touch(exist_ok=False)
        os.killpg(0, signal.SIGINT)


@pytest.mark.slow
def test_ctrl_c_while_processes_are_started_ends_them_without_a_word(tmp_path: Path) -> None:
    run = alone(
        tmp_path,
        (
            "import signal",
            "from pathlib import Path",
            "from oddframe.research.grid import Plan",
            "from tests.research import test_reproduce_grid as here",
            "if __name__ == '__mp_main__': here.interrupt_once()  # A process, before our code.",
        ),
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "session = here.tiny_session(Path.cwd(), seeds=1)",
        "try:",
        "    here.run(session, here.Seen(), Plan(2, 1, ''))",
        "except KeyboardInterrupt:",
        "    print('heard')",
    )
    assert run.communicate(timeout=120) == (b"heard\n", b"")


def clips_of_bytes(count: int, dtype: type = np.float32) -> list[Clip]:
    array = np.zeros((1, 100, 250), dtype)
    return [
        Clip(str(i), array.copy(), Timebase(25.0, 1600), bool(i % 2), str(i)) for i in range(count)
    ]


def test_processes_fit_into_memory() -> None:
    clips = clips_of_bytes(10)
    assert resident(clips) == 10 * 100_000
    config = tiny_config()
    assert plan(8, 20, clips, config, free=100 * 10**9).jobs == 8
    assert plan(8, 3, clips, config, free=100 * 10**9).jobs == 3
    few = plan(8, 20, clips, config, free=int(2.5 * 10**9))
    assert few.jobs == 2
    assert "8 were asked for" in few.about
    tight = plan(8, 20, clips, config, free=10**8)
    assert tight.jobs == 1
    assert "not even one may fit" in tight.about
    # A step at the published size holds more: three gigabytes where it is not taken in parts.
    large = config.with_recipe(normal_bags=64, abnormal_bags=64, segments=200)
    wide = [replace(clip, array=np.zeros((1, 2, 1024), np.float32)) for clip in clips]
    assert plan(8, 20, wide, large, free=10 * 10**9).jobs == 2
    assert free_memory() > 0


def test_features_mapped_from_a_file_take_no_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((1, 100, 250), np.float32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    clip = Clip("a", mapped, Timebase(25.0, 1600), False, "a")
    assert resident([clip]) == 0


@pytest.mark.parametrize(("name", "crops"), [("ucf_crime", 10), ("xd_violence", 5)])
def test_the_published_protocol_from_files_of_several_crops(
    tmp_path: Path, name: str, crops: int
) -> None:
    (tmp_path / "data").mkdir()
    dataset = tiny_dataset(tmp_path / "data", name, crops)
    session = tiny_session(tmp_path, seeds=1, dataset=dataset)
    (part,) = session.parts
    assert (len(part.train), len(part.test)) == (6, 6)
    assert session.setting.lead == {"ucf_crime": "auc", "xd_violence": "ap_trapezoid"}[name]
    spec = table_of("table1" if name == "ucf_crime" else "table2", name, session.config)
    (table,) = reproduce(session, [spec], tasks_of(spec, session.parts), ALONE)
    assert all(len(line.trainings) == 1 for line in table.trained)
    assert table.published[0].beside == table.columns[0].field
