"""docs/architecture.md says what import-linter enforces, and names what the code has."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from draw_layers import PACKAGE, PAGE, PICTURE, layers, svg

LINKS = sorted(set(re.findall(r"\[`(\w+)`\]\(\.\./(src/[\w/]+\.py)\)", PAGE.read_text("utf-8"))))


def test_the_layers_are_those_of_the_import_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    assert [f"oddframe.{name}" for name, _ in layers()] == contract["layers"]


def test_every_module_is_in_a_layer() -> None:
    modules = {p.stem for p in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    packages = {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    assert {name for name, _ in layers()} == modules | packages


def test_the_picture_is_of_the_package_of_now() -> None:
    assert PICTURE.read_text(encoding="utf-8") == svg(), "run tools/draw_layers.py"


def test_the_page_names_types_on_both_ways() -> None:
    assert len(LINKS) > 20


@pytest.mark.parametrize(("name", "path"), LINKS)
def test_what_the_page_names_is_defined_there(name: str, path: str) -> None:
    body = ast.parse((ROOT / Path(path)).read_text(encoding="utf-8")).body
    names = {n.name for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    assert name in names
