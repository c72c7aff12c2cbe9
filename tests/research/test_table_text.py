"""Reproduced tables in every format: the same figures, published ones beside them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.fold_figures import FoldFigures
from oddframe.research.records import TrainingRecord, write_training
from oddframe.research.reproduce.report import (
    to_csv,
    to_json,
    to_latex,
    to_markdown,
    write_table_page,
)
from oddframe.research.reproduce.run_text import describe_run, run_as_json
from oddframe.research.reproduce.tables import (
    ReproducedRow,
    ReproducedTable,
    TableSpec,
    published_columns,
    table_spec,
)
from tests.research.test_records import record
from tests.research.tiny import tiny_config

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def trainings(level: float, folds: int) -> tuple[TrainingRecord, ...]:
    made = []
    for fold in range(folds):
        auc = level + 0.01 * fold
        names = FoldFigures.__dataclass_fields__
        values = {name: auc for name in names if name not in ("repeat", "fold")}
        made.append(
            replace(record(), figures=FoldFigures(repeat=0, fold=fold, **values), warnings=())
        )
    return tuple(made)


def table(
    folder: Path, dataset: str = "ucf_crime", folds: int = 4, name: str = "table3"
) -> ReproducedTable:
    """Table 3 as if it had been run: 80, 85 and 90 per cent, a fold of the first one missing."""
    spec: TableSpec = table_spec(name, dataset, tiny_config())
    lines = []
    for number, row in enumerate(spec.rows):
        made = trainings(0.8 + 0.05 * number, folds)[: folds - (number == 0)]
        made = made if row.config is not None else ()
        paths = [folder / "trainings" / f"m-{number}" / f"r0f{t.fold}.json" for t in made]
        for path, training in zip(paths, made, strict=True):
            write_training(path, training)
        lines.append(ReproducedRow(row, tuple(paths), made))
    return ReproducedTable(
        spec=spec,
        dataset=dataset,
        data_title=BENCHMARKS[dataset].title,
        lines=tuple(lines),
        columns=BENCHMARKS[dataset].training_columns,
        published=published_columns(spec, dataset),
        best_on_test=False,
        wanted=folds,
        features_sha256="f" * 64,
        warnings=("one <b>thing</b>",),
    )


def test_markdown_has_published_figures_beside_ours(tmp_path: Path) -> None:
    text = to_markdown(table(tmp_path))
    head = next(line for line in text.splitlines() if line.startswith("| anomaly memory"))
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells[2:4] == ["published AUC", "AUC, last step"]
    assert cells[4:6] == ["published AP", "AP (trapezoid), last step"]
    assert "| ✓ | ✓ | 86.97 | 91.50 ± 1.12 | 35.59 |" in text
    assert "| ✓ |  | 83.72 | 81.00 ± 0.82 (3 of 4) |" in text
    assert "f" * 64 in text
    assert "seeds: 2004" in text


def test_differences_are_paired_over_common_trainings(tmp_path: Path) -> None:
    made = table(tmp_path)
    lead = made.columns[0]
    apart = made.difference(made.lines[0], lead)
    assert apart is not None
    assert apart.value == pytest.approx(-10.0)
    assert (apart.low, apart.high) == (pytest.approx(-10.0), pytest.approx(-10.0))
    assert made.difference(made.reference, lead) is None
    assert "| ✓ |  | -3.25 | " in to_markdown(made)


def test_one_training_gives_no_interval(tmp_path: Path) -> None:
    made = table(tmp_path, folds=1)
    apart = made.difference(made.lines[1], made.columns[0])
    assert apart is not None
    assert np.isfinite(apart.value)
    assert np.isnan(apart.low)


def test_no_heading_says_a_name_twice(tmp_path: Path) -> None:
    one = table(tmp_path, name="table1")
    assert to_markdown(one).startswith("# Table 1: UCF-Crime, frame AUC\n")
    write_table_page(one, tmp_path / "t.html", "oddframe reproduce table1")
    assert (
        "<title>Table 1: UCF-Crime, frame AUC: oddframe reproduce</title>"
        in (tmp_path / "t.html").read_text()
    )
    assert to_markdown(table(tmp_path, "ped2")).startswith(
        "# Table 3: One memory or two. UCSD Ped2, weak labels\n"
    )


def test_the_note_explains_the_intervals(tmp_path: Path) -> None:
    text = to_markdown(table(tmp_path))
    assert "(-10.00 to -10.00)" in text
    assert "in parentheses the interval of 95 %" in text


def test_latex_is_escaped_and_balanced(tmp_path: Path) -> None:
    text = to_latex(table(tmp_path))
    assert text.count("\\begin{table}") == text.count("\\end{table}") == 2
    for line in text.splitlines():
        if line.endswith(r"\\"):
            assert line.count("&") >= 7
        if not line.startswith("%"):
            assert "_" not in line.replace(r"\_", "")
            assert "✓" not in line
            assert "±" not in line
    assert r"91.50 $\pm$ 1.12" in text


def test_csv_can_be_read_by_a_program(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(table(tmp_path)))))
    found = {(row["row"], row["figure"]): row for row in rows}
    whole = found["anomaly memory + normal memory (the whole)", "auc"]
    assert (whole["published"], whole["mean"], whole["n"]) == ("86.97", "91.5000", "4")
    assert whole["selection"] == "last step"
    assert found["anomaly memory", "auc"]["difference"] == "-10.0000"
    assert {row["features_sha256"] for row in rows} == {"f" * 64}


def test_published_figures_of_other_data_name_it(tmp_path: Path) -> None:
    text = to_markdown(table(tmp_path, "ped2"))
    assert "published, UCF-Crime AUC | published, XD-Violence AP | AUC, last step" in text
    assert "to compare directions, not sizes" in text


def test_a_comparison_has_rows_that_are_only_published(tmp_path: Path) -> None:
    text = to_markdown(table(tmp_path, name="table1"))
    assert "| RTFM | 2021 | weak | I3D | 84.30 |  |" in text
    assert "| UR-DMU (ours) | 2023 | weak |  |  | " in text
    assert text.count("published AUC") == 1


def test_the_page_needs_no_other_file(tmp_path: Path) -> None:
    write_table_page(table(tmp_path), tmp_path / "t.html", "oddframe reproduce table3 --data <x>")
    page = (tmp_path / "t.html").read_text()
    for section in ("Figures, last step", "Learning", "Trainings", "How this was made"):
        assert f"<h2>{section}</h2>" in page
    assert "&lt;b&gt;thing" in page
    assert "--data &lt;x&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count('class="reach"') == 2


def test_a_run_shows_everything_that_its_figures_depend_on(tmp_path: Path) -> None:
    made = table(tmp_path)
    path = tmp_path / "table3.json"
    path.write_text(to_json(made, tmp_path, "oddframe reproduce table3"))
    text = describe_run(path)
    assert "made by: oddframe reproduce table3" in text
    assert text.count("seed 2004") == 11
    assert "code cccccccccccc" in text
    row = run_as_json(path)["rows"][2]
    assert row["last step"]["auc"]["mean"] == pytest.approx(91.5)
    assert len(row["trainings"]) == 4
    one = describe_run(tmp_path / row["records"][0])
    for fact in ("f" * 64, "c" * 64, "seed               2004", "config:", "threads    cpu, 2"):
        assert fact in one
    listed = describe_run(tmp_path).splitlines()
    assert listed[0].startswith(str(path))
    assert len(listed) == 12


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"kind": "soup"}))
    for path, words in (
        (tmp_path / "other.json", "neither a table nor"),
        (tmp_path / "none.json", "no such file"),
        (tmp_path, "holds no table"),
    ):
        with pytest.raises(InputError, match=words):
            describe_run(path)


@pytest.mark.browser
def test_the_page_fits_a_phone_and_a_screen(browser: Browser, tmp_path: Path) -> None:
    write_table_page(table(tmp_path), tmp_path / "t.html", "oddframe reproduce table3")
    heights = "e => [...e.querySelectorAll('tbody tr')].map(tr => tr.offsetHeight)"
    for width in (360, 1200):
        page = browser.new_page(viewport={"width": width, "height": 800})
        errors: list[str] = []
        page.on("console", lambda m, errors=errors: errors.append(m.text))
        page.goto((tmp_path / "t.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        figures = page.locator(".wide-table").first
        if width > 1000:
            # The first row is two lines: a fold of it is missing, and that is said.
            assert max(figures.evaluate(heights)[1:]) < 45
            assert figures.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert page.locator(".forest .dot").count() == 2
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 800})  # A4 within its margins.
        apart = page.locator(".wide-table").nth(1)
        # A value and below it its interval: two lines, neither broken further, none cut off.
        assert max(apart.evaluate(heights)) < 40
        assert apart.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert errors == []
        page.close()
