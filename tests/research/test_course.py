"""A training of a grid that is killed goes on from its checkpoint, and its record is the same."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from oddframe.methods.base import Loss
from oddframe.research import grid_task as course
from oddframe.research.grid_task import Course, Task, checkpoint_path, record_path, train
from oddframe.research.records import Training
from oddframe.research.reproduce.reproduce import tasks_of
from oddframe.research.reproduce.tables import table_of
from oddframe.research.session import Session
from tests.research.tiny import tiny_config, tiny_session

STEPS, EVERY, KILLED = 44, 10, 34


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "KEEP_EVERY", EVERY)
    monkeypatch.setattr("oddframe.research.grid_task.KEEP_EVERY", EVERY)


def session_in(folder: Path, *, looking: bool) -> tuple[Session, Task]:
    folder.mkdir(exist_ok=True)
    session = tiny_session(folder, tiny_config(steps=STEPS), seeds=1, best_on_test=looking)
    spec = table_of("table3", session.setting.dataset, session.config)
    return session, tasks_of(spec, session.parts)[0]


def killed(session: Session, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and stop after step KILLED."""
    whole = Course.step

    def step(self: Course, step: int, total: int, loss: Loss) -> None:
        whole(self, step, total, loss)
        if step == KILLED:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Course, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(task, session.parts[0], session.setting)


def steps_taken(session: Session, task: Task, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Train, and tell which steps that took."""
    whole, taken = Course.step, []

    def step(self: Course, step: int, total: int, loss: Loss) -> None:
        taken.append(step)
        whole(self, step, total, loss)

    with monkeypatch.context() as patch:
        patch.setattr(Course, "step", step)
        train(task, session.parts[0], session.setting)
    return taken


def result(training: Training) -> dict[str, object]:
    """What does not depend on the clock, comparable where figures are not defined."""
    data = asdict(training)
    for name in ("seconds", "cost"):
        del data[name]
    return {name: repr(value) for name, value in data.items()}


@pytest.mark.parametrize("looking", [False, True])
def test_a_killed_training_goes_on_and_its_record_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looking: bool
) -> None:
    session, task = session_in(tmp_path / "plain", looking=looking)
    plain = train(task, session.parts[0], session.setting)
    session, task = session_in(tmp_path / "killed", looking=looking)
    killed(session, task, monkeypatch)
    record = record_path(task, session.setting)
    assert checkpoint_path(record).exists()
    assert not record.exists()
    resumed = train(task, session.parts[0], session.setting)
    assert result(resumed) == result(plain)
    assert len(resumed.learning.steps) == STEPS
    assert record.exists()
    assert {path.suffix for path in record.parent.iterdir()} == {".json", ".safetensors"}


def test_only_what_the_checkpoint_lacks_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, task = session_in(tmp_path, looking=False)
    killed(session, task, monkeypatch)
    assert steps_taken(session, task, monkeypatch) == list(range(31, STEPS + 1))


def test_time_is_that_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, task = session_in(tmp_path, looking=False)
    killed(session, task, monkeypatch)
    path = record_path(task, session.setting).with_suffix(".course")
    text = path.read_text()
    before = text.partition('"processor_s": ')[2].partition(",")[0]
    path.write_text(text.replace(f'"processor_s": {before}', '"processor_s": 1000.0'))
    cost = train(task, session.parts[0], session.setting).cost
    assert cost is not None
    assert cost.training_s > 1000


@pytest.mark.parametrize("why", ["looks", "code", "damaged", "forgotten"])
def test_a_checkpoint_that_would_not_give_the_same_record_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    session, task = session_in(tmp_path, looking=False)
    killed(session, task, monkeypatch)
    path = record_path(task, session.setting).with_suffix(".course")
    if why == "looks":
        session = replace(session, setting=replace(session.setting, best_on_test=True))
    elif why == "code":
        path.write_text(path.read_text().replace('"code": "', '"code": "0'))
    elif why == "damaged":
        path.write_text("half a")
    else:
        session.forget([task])
    assert steps_taken(session, task, monkeypatch) == list(range(1, STEPS + 1))
