"""The example of a new benchmark in docs/extend.md works as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from oddframe.cli.research import benchmark_option
from oddframe.research.benchmarks import BENCHMARKS, LOCATIONS, league_benchmarks
from oddframe.research.grid import GridPlan, run_grid
from oddframe.research.reproduce.report import to_markdown
from oddframe.research.reproduce.tables import collect_table, table_spec, table_tasks
from tests.conftest import extend_section
from tests.research.tiny import tiny_dataset, tiny_session

TEXT = extend_section("A benchmark")


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the benchmark, which is registered as the document says."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert len(code.splitlines()) <= 40
    (line,) = re.findall(r'^    "(\w+)": "([\w.]+):(\w+)",$', TEXT, re.MULTILINE)
    name, module, constant = line
    made = ModuleType(module)
    exec(code, made.__dict__)
    monkeypatch.setitem(sys.modules, module, made)
    monkeypatch.setitem(LOCATIONS, name, f"{module}:{constant}")
    return str(name)


def test_the_example_is_registered(name: str) -> None:
    assert BENCHMARKS[name].title == "Crossing, weak labels"
    assert name in league_benchmarks()
    assert name in benchmark_option(tuple(BENCHMARKS)).help


def test_a_table_is_reproduced_on_the_example(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    dataset = tiny_dataset(tmp_path / "data", name)
    session = tiny_session(tmp_path, dataset=dataset, seeds=None)
    assert [part.repeat for part in session.parts] == [0, 1, 2]
    assert all((len(part.train), len(part.test)) == (8, 4) for part in session.parts)
    spec = table_spec("table3", name, session.config)
    assert run_grid(session, table_tasks(spec, session.parts), GridPlan(1, 1)) == []
    text = to_markdown(collect_table(session, spec))
    assert "One memory or two. Crossing, weak labels" in text
    assert "AUC, last step | AUC_sub, last step | AP, last step" in text
