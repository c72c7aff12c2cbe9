"""Names that the scripts in ``benchmarks`` and ``tools`` import exist: most are run by hand."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = (ROOT / "benchmarks", ROOT / "tools")
SCRIPTS = {path.stem: path for folder in FOLDERS for path in folder.glob("*.py")}


def defined_names(path: Path) -> set[str]:
    """The names of a script that another script can import."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {each.name for each in body if isinstance(each, ast.FunctionDef | ast.ClassDef)}
    assigned = (each for each in body if isinstance(each, ast.Assign | ast.AnnAssign))
    targets = (node for each in assigned for node in ast.walk(each))
    return names | {node.id for node in targets if isinstance(node, ast.Name)}


def missing_names(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module in SCRIPTS:
            known = defined_names(SCRIPTS[node.module])
            yield from (each.name for each in node.names if each.name not in known)
        elif node.module.split(".")[0] == "oddframe":
            module = import_module(node.module)
            for each in node.names:
                if not hasattr(module, each.name) and not find_spec(f"{node.module}.{each.name}"):
                    yield f"{node.module}.{each.name}"


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_what_a_script_imports_exists(name: str) -> None:
    assert list(missing_names(SCRIPTS[name])) == []
