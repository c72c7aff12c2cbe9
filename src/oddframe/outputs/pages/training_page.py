"""The page of a training: training videos, settings tried, figures on held-out videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from oddframe.evaluation.evaluate import Evaluation, ScoredVideo, evaluate_scores
from oddframe.outputs.pages.charts import LearningCurve
from oddframe.outputs.pages.evaluation_page import EvaluationReport
from oddframe.outputs.pages.evaluation_text import format_share
from oddframe.outputs.text import TextTable, format_count
from oddframe.training.search import SearchResult
from oddframe.training.train import TrainedModel

FIGURE_NAMES = {
    "frame_auc": "frame AUC of joined clips",
    "frame_ap": "frame AP of joined clips",
    "video_auc": "video AUC",
}


def evaluate_held_out(trained: TrainedModel) -> Evaluation | None:
    """Evaluate the trained model on the held-out videos; None where there are none."""
    if not trained.held_out:
        return None
    scored = [ScoredVideo(video, track) for video, track in trained.held_out]
    return evaluate_scores(scored, trained.model.profiles["best"].rule)


def training_report(
    trained: TrainedModel, evaluation: Evaluation | None, warnings: Sequence[str], command: str
) -> EvaluationReport:
    """The contents of the page of a training.

    ``warnings`` are about the data, and the training's own follow; ``command`` trains this model.
    """
    card, recipe = trained.model.card, trained.config.full_recipe()
    seed = str(card["configuration"]["recipe"]["seed"])
    videos = card["training_videos"]
    paragraphs = [
        f"Learned from {videos['normal']} normal and {videos['abnormal']} abnormal videos, using "
        "only one label for each whole video."
    ]
    if trained.held_out:
        groups = len(card["held_out_groups"])
        paragraphs.append(
            f"All figures are on {card['held_out_videos']} videos of {groups} groups that were "
            "held out. Only the threshold was chosen on them, so figures at the threshold are "
            "somewhat too good."
        )
    facts = [
        ("model", f"{trained.model.name}.safetensors, sha256 {trained.model.sha256[:16]}"),
        ("command", command),
        ("data", str(card["data"])),
        ("method", trained.model.method),
        ("learning rate, steps", f"{recipe.lr:g}, {recipe.steps}"),
        ("seed", seed),
        ("oddframe", trained.model.version),
    ]
    if "started_from" in card:
        facts.append(("went on from", str(card["started_from"]["name"])))
    return EvaluationReport(
        title=f"{trained.model.name}: finds {trained.model.detects}",
        paragraphs=tuple(paragraphs),
        evaluation=evaluation,
        warnings=(*warnings, *trained.warnings),
        curves=(LearningCurve.read(trained.log, f"seed {seed}"),) if trained.log.exists() else (),
        search=None if trained.search is None else _search(trained.search),
        tables=(_seeds(trained),) if trained.seeds else (),
        facts=tuple(facts),
    )


def _search(found: SearchResult) -> dict[str, Any]:
    """The settings of a search, with a bar for each figure as a share of the highest one."""
    figures = [found.mean(setting) for setting in found.grid]
    known = [figure for figure in figures if figure is not None and np.isfinite(figure)]
    highest = max(known, default=1.0) or 1.0
    rows = []
    for setting, figure in zip(found.grid, figures, strict=True):
        trials = [trial for trial in found.trials if trial.setting == setting]
        left_out = [each for each in found.left_out if each.setting == setting]
        note = ""
        if trials:
            seconds = sum(trial.seconds for trial in trials)
            note = f"{format_count(len(trials), 'fold')}, {seconds:.0f} s"
        elif left_out:
            note = f"not tried: {left_out[0].reason}"
        pictures = "mirrored, too" if setting.mirrored else "as they are"
        row = {
            "settings": [f"{setting.lr:g}", str(setting.steps), pictures],
            "figure": format_share(np.nan if figure is None else figure),
            "percent": f"{100 * max(0.0, figure / highest):.0f}" if figure in known else None,
            "chosen": setting == found.chosen,
            "note": note,
        }
        rows.append(row)
    note = (
        "Means over validation folds: whole groups of the training videos, each measured by a "
        "model that was not trained on it. The better half of the settings was tried on each "
        "further fold; the best of those that were tried on most folds was chosen."
    )
    headings = ("learning rate", "steps", "pictures", FIGURE_NAMES[found.figure], "")
    return {"headings": headings, "rows": rows, "note": note}


def _seeds(trained: TrainedModel) -> TextTable:
    names = [name for name in FIGURE_NAMES if all(name in run.metrics for run in trained.seeds)]
    rows = [
        (
            f"{run.seed}{' (kept)' if run.kept else ''}",
            "" if run.validation is None else f"{run.validation:.3f}",
            *(f"{run.metrics[name]:.3f}" for name in names),
        )
        for run in trained.seeds
    ]
    spread = trained.model.card["seeds"]["mean_and_deviation"]
    means = (f"{spread[name][0]:.3f} ± {spread[name][1]:.3f}" for name in names)
    return TextTable(
        "By seed",
        ("seed", "validation", *(FIGURE_NAMES[name] for name in names)),
        (*rows, ("mean ± deviation", "", *means)),
        "The one that is best on validation videos was kept; the other columns are on held-out "
        "videos and played no part in that.",
    )
