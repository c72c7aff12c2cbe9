"""Records of trainings: read back as they were written, and refused if they are something else."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from oddframe.errors import InputError
from oddframe.research.fold_figures import FoldFigures
from oddframe.research.records import (
    BestOnTest,
    CodeVersion,
    LossCurves,
    TrainingRecord,
    current_code,
    read_training,
    write_training,
)


def figures(**fields: float) -> FoldFigures:
    names = [f.name for f in dataclasses.fields(FoldFigures) if f.name not in ("repeat", "fold")]
    values = dict.fromkeys(names, 0.5) | fields
    return FoldFigures(repeat=1, fold=2, **values)


def record(best: BestOnTest | None = None, **fields: float) -> TrainingRecord:
    return TrainingRecord(
        dataset="ped2",
        figures=figures(**fields),
        steps=3,
        seed=2004,
        config={"recipe": {"seed": 2004}},
        facts={"method": "ur_dmu"},
        protocol={"split": {"split": "Folds", "n": 5}},
        features_sha256="f" * 64,
        code=CodeVersion("0.1.0", "abc", "c" * 64),
        torch="2.5",
        device="cpu",
        threads=2,
        seconds=1.5,
        learning=LossCurves((1, 3), {"loss": (2.0, 1.0)}),
        warnings=("something",),
        best_on_test=best,
    )


@pytest.mark.parametrize("looked", [False, True])
def test_round_trip(tmp_path: Path, looked: bool) -> None:
    best = BestOnTest("auc", 2, figures(auc=0.9), (1, 2), (0.1, 0.9)) if looked else None
    before = record(best)
    write_training(tmp_path / "a" / "r.json", before)
    assert read_training(tmp_path / "a" / "r.json") == before


def test_undefined_figures_are_null(tmp_path: Path) -> None:
    write_training(tmp_path / "r.json", record(found=math.nan))
    text = (tmp_path / "r.json").read_text()
    assert "NaN" not in text
    assert '"found": null' in text
    assert math.isnan(read_training(tmp_path / "r.json").figures.found)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "oddframe training", "schema": 2}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match="not the record of a training"):
        read_training(tmp_path / "r.json")
    with pytest.raises(InputError, match="no such file"):
        read_training(tmp_path / "none.json")


def test_the_code_is_named() -> None:
    found = current_code()
    assert found.version
    assert len(found.sha256) == 64
    assert found == current_code()
