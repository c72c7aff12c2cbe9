"""The pictures of the methods: each has one, as it is drawn now, that fits and is shown."""

from __future__ import annotations

import sys

import pytest
import torch

from oddframe.methods.registry import get_method, method_names
from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from draw_methods import IMAGES, LETTERS, LINES, read_diagram, svg, wrap_text

every_method = pytest.mark.parametrize("name", method_names())


def test_every_method_has_a_picture_and_nothing_else_has() -> None:
    assert sorted(path.stem for path in IMAGES.glob("*.svg")) == sorted(method_names())


@every_method
def test_the_picture_is_of_the_settings_of_now(name: str) -> None:
    method = get_method(name)
    drawn = svg(read_diagram(method), method.title)
    assert (IMAGES / f"{name}.svg").read_text(encoding="utf-8") == drawn, (
        "run tools/draw_methods.py"
    )


@every_method
def test_words_fit_into_their_boxes_and_scores_do_not_hang_on_training(name: str) -> None:
    diagram = read_diagram(get_method(name))
    assert diagram.terms
    for column in (*diagram.columns, diagram.terms):
        for box in column:
            assert len(box.name) <= LETTERS - 6, box.name
            lines = wrap_text(box.about)
            assert len(lines) <= LINES, box.about
            assert all(len(line) <= LETTERS for line in lines), lines
    assert all(any(not box.training for box in column) for column in diagram.columns)


@every_method
def test_the_page_of_the_method_shows_it(name: str) -> None:
    page = (ROOT / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
    assert f"images/methods/{name}.svg" in page


@every_method
def test_the_terms_are_those_of_the_loss(name: str) -> None:
    method = get_method(name)
    if method.closed_form:
        return
    labels = torch.tensor([0.0, 1.0])
    # Two frames of 4x4, where it looks at frames.
    tiny = {"frames": 2, "widths": [4, 4, 4], "kernel": 1, "stride": 1} if name == "hasan" else {}
    dim = 32 if tiny else 8
    config = method.Config(**tiny)
    loss = method.loss(method.network(dim, config)(torch.rand(2, 16, dim), labels), labels, config)
    drawn = {part for term in read_diagram(method).terms for part in term.name.split(" and ")}
    # UR-DMU tells the parts of one of its terms, too: dm, dm_a_of_abnormal ...
    assert {term if term in drawn else term.split("_")[0] for term in loss.terms} == drawn
