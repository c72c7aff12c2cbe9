"""A killed training of a grid resumes from its checkpoint, and its record is the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from oddframe.methods.base import Loss
from oddframe.research.grid import Session
from oddframe.research.grid_task import (
    GridTask,
    TrainingHistory,
    record_path,
    remove_records,
    train_task,
)
from oddframe.research.records import TrainingRecord
from oddframe.research.reproduce.tables import table_spec, table_tasks
from tests.research.tiny import tiny_config, tiny_session

STEPS, EVERY, KILLED = 44, 10, 34


@pytest.fixture(autouse=True)
def frequent_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oddframe.research.grid_task.CHECKPOINT_EVERY", EVERY)


def session_in(folder: Path, *, best_on_test: bool) -> tuple[Session, GridTask]:
    folder.mkdir(exist_ok=True)
    session = tiny_session(folder, tiny_config(steps=STEPS), seeds=1, best_on_test=best_on_test)
    spec = table_spec("table3", session.setting.dataset, session.config)
    return session, table_tasks(spec, session.parts)[0]


def killed(session: Session, task: GridTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and stop after step KILLED."""
    whole = TrainingHistory.add_step

    def step(self: TrainingHistory, step: int, total: int, loss: Loss) -> None:
        whole(self, step, total, loss)
        if step == KILLED:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingHistory, "add_step", step)
        with pytest.raises(KeyboardInterrupt):
            train_task(task, session.parts[0], session.setting)


def steps_taken(session: Session, task: GridTask, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Train; the steps that it took."""
    whole, taken = TrainingHistory.add_step, []

    def step(self: TrainingHistory, step: int, total: int, loss: Loss) -> None:
        taken.append(step)
        whole(self, step, total, loss)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingHistory, "add_step", step)
        train_task(task, session.parts[0], session.setting)
    return taken


def result(training: TrainingRecord) -> dict[str, object]:
    """What does not depend on the clock, comparable where figures are not defined."""
    data = asdict(training)
    for name in ("seconds", "cost"):
        del data[name]
    return {name: repr(value) for name, value in data.items()}


@pytest.mark.parametrize("best_on_test", [False, True])
def test_a_killed_training_resumes_and_its_record_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best_on_test: bool
) -> None:
    session, task = session_in(tmp_path / "plain", best_on_test=best_on_test)
    plain = train_task(task, session.parts[0], session.setting)
    session, task = session_in(tmp_path / "killed", best_on_test=best_on_test)
    killed(session, task, monkeypatch)
    record = record_path(task, session.setting)
    assert record.with_suffix(".checkpoint").exists()
    assert not record.exists()
    resumed = train_task(task, session.parts[0], session.setting)
    assert result(resumed) == result(plain)
    assert len(resumed.learning.steps) == STEPS
    assert record.exists()
    assert {path.suffix for path in record.parent.iterdir()} == {".json", ".safetensors"}


def test_only_steps_after_the_checkpoint_are_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, task = session_in(tmp_path, best_on_test=False)
    killed(session, task, monkeypatch)
    assert steps_taken(session, task, monkeypatch) == list(range(31, STEPS + 1))


def test_the_time_includes_that_of_killed_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, task = session_in(tmp_path, best_on_test=False)
    killed(session, task, monkeypatch)
    path = record_path(task, session.setting).with_suffix(".history")
    text = path.read_text()
    before = text.partition('"processor_s": ')[2].partition(",")[0]
    path.write_text(text.replace(f'"processor_s": {before}', '"processor_s": 1000.0'))
    cost = train_task(task, session.parts[0], session.setting).cost
    assert cost is not None
    assert cost.training_s > 1000


@pytest.mark.parametrize("why", ["tests", "code", "damaged", "removed"])
def test_a_checkpoint_that_would_give_another_record_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    session, task = session_in(tmp_path, best_on_test=False)
    killed(session, task, monkeypatch)
    path = record_path(task, session.setting).with_suffix(".history")
    if why == "tests":
        session = replace(session, setting=replace(session.setting, best_on_test=True))
    elif why == "code":
        path.write_text(path.read_text().replace('"code": "', '"code": "0'))
    elif why == "damaged":
        path.write_text("half a")
    else:
        remove_records([task], session.setting)
    assert steps_taken(session, task, monkeypatch) == list(range(1, STEPS + 1))
