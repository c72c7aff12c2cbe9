"""The page of a training: training videos, settings tried, figures on held-out videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oddframe.evaluation.evaluate import Evaluation, ScoredVideo, evaluate_scores
from oddframe.outputs.pages.charts import LearningCurve
from oddframe.outputs.pages.evaluation_page import (
    EvaluationReport,
    SearchRow,
    SearchTable,
)
from oddframe.outputs.text import TextTable
from oddframe.training.search import SearchResult, SearchSetting
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

    Args:
        trained: What was trained.
        evaluation: Result of ``evaluate_held_out``.
        warnings: What was noticed of the data before training; the training's own follow.
        command: Command line that trains this model.
    """
    card, recipe = trained.model.card, trained.config.full_recipe()
    facts = [
        ("model", f"{trained.model.name}.safetensors, sha256 {trained.model.sha256[:16]}"),
        ("command", command),
        ("data", str(card["data"])),
        ("method", trained.model.method),
        ("learning rate, steps", f"{recipe.lr:g}, {recipe.steps}"),
        ("seed", str(card["configuration"]["recipe"]["seed"])),
        ("oddframe", trained.model.version),
    ]
    if "started_from" in card:
        facts.append(("went on from", str(card["started_from"]["name"])))
    return EvaluationReport(
        title=f"{trained.model.name}: finds {trained.model.detects}",
        paragraphs=_paragraphs(trained),
        evaluation=evaluation,
        warnings=(*warnings, *trained.warnings),
        curves=_curves(trained.log, str(card["configuration"]["recipe"]["seed"])),
        search=None if trained.search is None else _search(trained.search),
        tables=(_seeds(trained),) if trained.seeds else (),
        facts=tuple(facts),
    )


def _paragraphs(trained: TrainedModel) -> tuple[str, ...]:
    card = trained.model.card
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
    return tuple(paragraphs)


def _curves(log: Path, seed: str) -> tuple[LearningCurve, ...]:
    return (LearningCurve.read(log, f"seed {seed}"),) if log.exists() else ()


def _search(found: SearchResult) -> SearchTable:
    rows = []
    for setting in found.grid:
        trials = [trial for trial in found.trials if trial.setting == setting]
        left_out = [each for each in found.left_out if each.setting == setting]
        note = ""
        if trials:
            seconds = sum(trial.seconds for trial in trials)
            folds = f"{len(trials)} fold{'' if len(trials) == 1 else 's'}"
            note = f"{folds}, {seconds:.0f} s"
        elif left_out:
            note = f"not tried: {left_out[0].reason}"
        chosen = setting == found.chosen
        rows.append(SearchRow(_setting_words(setting), found.mean(setting), chosen, note))
    return SearchTable(
        figure=FIGURE_NAMES[found.figure],
        rows=tuple(rows),
        note="Means over validation folds: whole groups of the training videos, each measured by a "
        "model that was not trained on it. The better half of the settings was tried on each "
        "further fold; the best of those that were tried on most folds was chosen.",
    )


def _setting_words(setting: SearchSetting) -> dict[str, str]:
    return {
        "learning rate": f"{setting.lr:g}",
        "steps": str(setting.steps),
        "pictures": "mirrored, too" if setting.mirrored else "as they are",
    }


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
