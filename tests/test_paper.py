"""docs/paper.md refers to code and commands that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from oddframe.methods.mil.urdmu_network import PAPER_SETTINGS, UrDmuConfig
from oddframe.research.reproduce.figures import PAPER_FIGURES
from oddframe.research.reproduce.tables import TABLE_NAMES

PAGE = Path(__file__).parents[1] / "docs" / "paper.md"
TEXT = PAGE.read_text()
LINKS = re.findall(r"\[`([\w.]+)`\]\((\.\./[\w/.]+\.py)\)", TEXT)


def names_in(path: Path) -> set[str]:
    """What a module defines, members as ``Class.member``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
            inner = [each for each in node.body if isinstance(each, ast.FunctionDef)]
            found |= {f"{node.name}.{each.name}" for each in inner}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


@pytest.mark.parametrize(("name", "target"), sorted(set(LINKS)))
def test_linked_code_exists(name: str, target: str) -> None:
    assert name in names_in(PAGE.parent / target)


def test_commands_are_exactly_the_tables_and_figures() -> None:
    named = set(re.findall(r"`oddframe reproduce (\w+) DATA`", TEXT))
    assert named == {*TABLE_NAMES, *PAPER_FIGURES}


def test_every_setting_and_loss_term_is_documented() -> None:
    for setting in PAPER_SETTINGS:
        assert f"`{setting}`" in TEXT
    for term in UrDmuConfig().terms:
        assert f"| `{term}`" in TEXT
