"""Write the files of an evaluation: the page, the tables and the metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oddframe._utils.files import file_sha256, json_text, write_text
from oddframe.detector import Detector
from oddframe.evaluation.results import Evaluation
from oddframe.outputs.pages.evaluation_page import write_evaluation_page
from oddframe.outputs.pages.evaluation_report import EvaluationReport
from oddframe.outputs.pages.evaluation_summary import format_hours
from oddframe.outputs.pages.evaluation_text import evaluation_to_dict, evaluation_to_markdown


def write_evaluation(evaluation: Evaluation, detector: Detector, out: Path) -> None:
    """Write ``study.html`` and ``evaluation.md``, then ``evaluation.json`` with the sha256 of both.

    Raises:
        OddframeError: a file cannot be written.
    """
    tables, page = out / "evaluation.md", out / "study.html"
    write_text(tables, evaluation_tables(evaluation))
    write_evaluation_page(_evaluation_report(evaluation, detector), page)
    files = {path.name: file_sha256(path) for path in (tables, page)}
    record = {**evaluation_record(evaluation), "files": files}
    write_text(out / "evaluation.json", json_text(record, indent=2) + "\n")


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON types: the answer of ``oddframe evaluate --json``."""
    return {
        "model": evaluation.model,
        "data": evaluation.data,
        **evaluation_to_dict(evaluation),
        "warnings": list(evaluation.warnings),
        "failed": list(evaluation.failed),
    }


def evaluation_tables(evaluation: Evaluation) -> str:
    """All tables of an evaluation as Markdown."""
    return evaluation_to_markdown(evaluation, evaluation.title, evaluation.warnings)


def _evaluation_report(evaluation: Evaluation, detector: Detector) -> EvaluationReport:
    """What the page of an evaluation shows."""
    model, info, rule, overall = detector.model, detector.info, evaluation.rule, evaluation.overall
    introduction = (
        f"{overall.videos} labelled videos, {overall.abnormal} of them abnormal, "
        f"{format_hours(overall.hours)} in all, scored by “{model.name}”, which was trained to "
        f"find {model.detects}. A video is called abnormal where it has an event."
    )
    facts = (
        ("Model", f"{model.name} (oddframe {model.version})"),
        ("Method", model.method),
        ("Backbone", info.backbone),
        ("Profile and engine", f"{info.profile}, {info.engine}"),
        ("An event", f"starts at {rule.threshold:.3g}, ends below {rule.release:.3g}"),
        ("SHA-256 of the model file", model.sha256),
    )
    return EvaluationReport(
        evaluation.title, (introduction,), evaluation, evaluation.warnings, facts=facts
    )
