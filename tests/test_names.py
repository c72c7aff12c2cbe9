"""One name, one meaning: no two modules of the package define the same public name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "oddframe"
# Type checkers know a constant of this name, and modules that must import nothing define it.
ALLOWED = {"TYPE_CHECKING"}


def public_names(path: Path) -> Iterator[str]:
    """Classes, functions and constants that a module defines at its top level."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names: list[str] = []
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def test_no_public_name_is_defined_twice() -> None:
    homes = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in set(public_names(path)) - ALLOWED:
            homes[name].append(str(path.relative_to(PACKAGE)))
    assert len(homes) > 1000
    assert {name: paths for name, paths in homes.items() if len(paths) > 1} == {}
