"""``oddframe doctor``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable

from oddframe.cli.doctor import EXTRAS
from tests.cli.conftest import Answer
from tests.conftest import ROOT

Run = Callable[..., Answer]


def test_everything_is_installed_here(oddframe: Run) -> None:
    answer = oddframe("doctor", "--json")
    report = json.loads(answer.out)
    assert answer.code == 0
    assert report["ok"]
    found = {check["name"]: check for check in report["checks"]}
    assert "fight" in found["models"]["found"]
    assert "oddframe" in oddframe("doctor").out


def test_each_extra_is_used_and_checked_by_doctor() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert {"dev", "docs", "train", *EXTRAS.values()} == extras.keys()
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    for name, extra in EXTRAS.items():
        assert any(line.startswith(name) for line in extras[extra])
        module = name.replace("-", ".")
        uses = (f"import {module}", f"from {module}.", f"from torch.utils.{module} import")
        assert any(use in source for use in (*uses, f'find_spec("{module}")'))
