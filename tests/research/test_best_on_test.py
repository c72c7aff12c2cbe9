"""The best step on the test set: only if asked for, and never in the default report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from oddframe.research.grid import GridPlan, Session, run_grid
from oddframe.research.grid_task import find_training, record_path, weights_path
from oddframe.research.records import BestOnTest, read_training, write_training
from oddframe.research.reproduce.report import write_table
from oddframe.research.reproduce.tables import collect_table, table_spec, table_tasks
from oddframe.training.loop import fit
from tests.research.tiny import tiny_config, tiny_session
from tests.training.planted import planted, small_config

ONE_PROCESS = GridPlan(1, 1)
_SUFFIXES = ("md", "tex", "csv", "html")


def texts(session: Session, folder: Path) -> dict[str, str]:
    """Every format of table 3 but JSON."""
    spec = table_spec("table3", session.setting.dataset, session.config)
    write_table(collect_table(session, spec), folder, "")
    return {suffix: (folder / f"table3.{suffix}").read_text() for suffix in _SUFFIXES}


def test_a_better_earlier_step_is_only_reported_if_asked_for(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, seeds=1, best_on_test=True)
    spec = table_spec("table3", session.setting.dataset, session.config)
    tasks = table_tasks(spec, session.parts)
    run_grid(session, tasks, ONE_PROCESS)
    for task in tasks:  # Plant a better middle step.
        path = record_path(task, session.setting)
        record = read_training(path)
        better = replace(record.figures, auc=0.9876)
        planted = BestOnTest("auc", 2, better, (1, 2, 3), (0.5, 0.9876, record.figures.auc))
        write_training(path, replace(record, best_on_test=planted))
    last = 100 * read_training(record_path(tasks[0], session.setting)).figures.auc
    asked = texts(session, tmp_path)
    for text in asked.values():
        assert "98.76" in text
        assert "best on test" in text
        assert f"{last:.2f}" in text or f"{last:.4f}" in text
    assert "step was chosen on the test set itself" in asked["md"]

    plain = replace(session, setting=replace(session.setting, best_on_test=False))
    for text in texts(plain, tmp_path).values():
        assert "98.76" not in text
        assert "best on test" not in text
        assert f"{last:.2f}" in text or f"{last:.4f}" in text


def test_networks_are_tested_at_the_authors_steps(tmp_path: Path) -> None:
    config = tiny_config(steps=44, lr=0.1, seed=1)
    session = tiny_session(tmp_path, config, seeds=1, best_on_test=True)
    (task, *_) = table_tasks(table_spec("table3", "ucf_crime", config), session.parts)
    run_grid(session, [task], ONE_PROCESS)
    record = read_training(record_path(task, session.setting))
    best = record.best_on_test
    assert best is not None
    assert best.steps == (20, 30, 40, 44)
    assert best.figures.auc == max(best.values)
    assert best.step == best.steps[best.values.index(max(best.values))]
    assert best.values[-1] == record.figures.auc
    # The record's own figures are the last step's, though a step on the way was better.
    assert best.step < 44
    assert best.figures.auc > record.figures.auc + 0.05
    (tmp_path / "plain").mkdir()
    plain = tiny_session(tmp_path / "plain", config, seeds=1)
    run_grid(plain, [task], ONE_PROCESS)
    paths = [record_path(task, each.setting) for each in (session, plain)]
    assert read_training(paths[1]).figures == record.figures
    kept, last = (load_file(weights_path(path)) for path in paths)
    assert all(torch.equal(kept[name], value) for name, value in last.items())


def test_a_training_without_tests_is_repeated_when_they_are_asked_for(tmp_path: Path) -> None:
    plain = tiny_session(tmp_path, seeds=1)
    (task, *_) = table_tasks(table_spec("table3", "ucf_crime", plain.config), plain.parts)
    run_grid(plain, [task], ONE_PROCESS)
    before = find_training(task, plain.setting)
    setting = replace(plain.setting, best_on_test=True)
    assert find_training(task, setting) is None
    run_grid(replace(plain, setting=setting), [task], ONE_PROCESS)
    after = find_training(task, setting)
    assert before is not None
    assert after is not None
    assert after.figures == before.figures


def test_testing_changes_no_training() -> None:
    videos, _ = planted(4, 4, seed=1)
    config = small_config(recipe={"average": 0.9})
    steps: list[int] = []
    looked = fit(videos, config, on_network=lambda step, _: steps.append(step), network_every=5)
    plain = fit(videos, config)
    assert steps == [5, 10, 12]
    for name, tensor in plain.network.state_dict().items():
        assert torch.equal(tensor, looked.network.state_dict()[name]), name


def test_the_network_that_is_tested_last_is_kept() -> None:
    videos, _ = planted(4, 4, seed=1)
    seen = []
    for average in (0.0, 0.9):
        config = small_config(recipe={"average": average})
        done = fit(
            videos,
            config,
            on_network=lambda _, n: seen.append(n.score_views(videos[0].views[0][None])),
        )
        assert (seen[-1] == done.network.score_views(videos[0].views[0][None])).all()
