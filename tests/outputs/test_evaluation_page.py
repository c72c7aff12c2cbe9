"""The evaluation page: its figures, its pictures, and that it needs no other file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from oddframe.datasets.labelled import GroundTruth, LabelledVideo
from oddframe.errors import InputError
from oddframe.evaluation.evaluate import Evaluation, ScoredVideo, evaluate_scores
from oddframe.events import EventRule
from oddframe.outputs.pages.charts import LearningCurve
from oddframe.outputs.pages.evaluation_page import EvaluationReport, write_evaluation_page
from oddframe.outputs.text import TextTable
from oddframe.timeline import ScoreTrack, Timebase

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RULE = EventRule(merge_gap_s=0.0)
EVIL = "<script>document.title='evil'</script>"


def scored(
    path: Path, label: str, scores: Sequence[float], truth: tuple[float, float] | None = None
) -> ScoredVideo:
    known = GroundTruth((truth,), "seconds") if truth else None
    video = LabelledVideo(path, label != "normal", label, path.stem, known)
    return ScoredVideo(video, ScoreTrack(np.array(scores), Timebase(25.0, 16 * len(scores))))


@pytest.fixture
def evaluation(clip: Path, normal_clip: Path) -> Evaluation:
    missing = Path("gone.mp4")
    return evaluate_scores(
        [
            scored(clip, "fight", [0.1, 0.9, 0.2], (0.6, 1.2)),
            scored(normal_clip, "normal", [0.1, 0.2, 0.1]),
            scored(missing, "normal", [0.1, 0.7, 0.1]),
        ],
        RULE,
    )


def page_of(report: EvaluationReport, path: Path) -> str:
    write_evaluation_page(report, path)
    return path.read_text(encoding="utf-8")


def test_the_page_shows_the_figures(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(
        EvaluationReport("fight on clips", ("Three clips.",), evaluation), tmp_path / "a.html"
    )
    assert "1 of 1 abnormal video caught, 1 of 2 normal videos quiet" in page
    assert "Three clips." in page
    assert "1 false alarm in" in page
    assert "exact Poisson interval" in page
    for section in ("Videos at the threshold", "Right and wrong", "Score curves", "By class"):
        assert f"<h2>{section}</h2>" in page
    assert "<h2>Learning</h2>" not in page
    assert "Before you trust it" not in page


def test_videos_that_can_be_read_have_thumbnails(evaluation: Evaluation, tmp_path: Path) -> None:
    page = page_of(EvaluationReport("t", (), evaluation), tmp_path / "a.html")
    assert len(re.findall(r'<img src="data:image/jpeg', page)) == 2
    assert page.count("no picture at hand") == 1


def test_search_and_learning_curves_are_shown(tmp_path: Path) -> None:
    best = {"settings": ["300"], "figure": "0.825", "percent": "100", "chosen": True, "note": ""}
    late = {"settings": ["600"], "figure": "-", "percent": None, "chosen": False, "note": "late"}
    headings, note = ("steps", "video AUC on validation", ""), "Chosen within ten minutes."
    search = {"headings": headings, "rows": [best, late], "note": note}
    report = EvaluationReport(
        "t",
        (),
        None,
        warnings=("Only two groups.",),
        curves=(LearningCurve("seed 1", (0, 1, 2), {"loss": (3.0, 2.0, 1.0)}),),
        search=search,
        tables=(TextTable("Seeds", ("seed", "AUC"), (("1", "0.91"),)),),
        facts=(("Command", "oddframe train clips"),),
    )
    page = page_of(report, tmp_path / "a.html")
    for text in ("no figures", "Only two groups.", "0.825", "chosen", "late", "Seeds", "0.91"):
        assert text in page
    assert "oddframe train clips" in page


def test_the_log_of_a_training_is_read_as_curves(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    rows = [{"step": i, "loss": 3.0 - i, "bce": 1.0} for i in range(3)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    curve = LearningCurve.read(log, "seed 7")
    assert list(curve.steps) == [0, 1, 2]
    assert dict(curve.terms) == {"loss": [3.0, 2.0, 1.0], "bce": [1.0] * 3}
    log.write_text("not a log\n")
    with pytest.raises(InputError, match="not the log of a training"):
        LearningCurve.read(log, "seed 7")


@pytest.mark.browser
def test_names_are_escaped_and_a_phone_never_scrolls_sideways(
    evaluation: Evaluation, tmp_path: Path, browser: Browser
) -> None:
    evil = scored(Path(EVIL.replace("/", "_") + "<b>" * 20), EVIL, [0.2] * 3)
    row = {"settings": [EVIL], "figure": EVIL, "percent": "5", "chosen": True, "note": EVIL}
    search = {"headings": (EVIL, EVIL, ""), "rows": [row], "note": EVIL}
    both = [ScoredVideo(v.video, v.track) for v in evaluation.videos]
    report = EvaluationReport(
        EVIL, (EVIL,), evaluate_scores([*both, evil], RULE), (EVIL,), (), search
    )
    write_evaluation_page(report, tmp_path / "a.html")
    page = browser.new_page(viewport={"width": 360, "height": 700})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "a.html").as_uri())
    assert page.title() == f"{EVIL}: oddframe evaluation"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert all(url.startswith(("file:", "data:")) for url in asked)
    page.close()
