from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.methods.mil.logistic import fit_ridge_logistic
from oddframe.research.new_recordings import (
    OUTER_FOLDS,
    Figures,
    Material,
    Snippets,
    count_alarms,
    fold_numbers,
    interval,
    resampled,
    run_regression,
    run_untrained,
)

DIM, RECORDINGS, EACH = 12, 18, 6


def made(gap: float, seed: int = 0) -> tuple[Snippets, Snippets, Material]:
    """Clips of three snippets whose fights are shifted by ``gap``; four files of footage."""
    rng = np.random.default_rng(seed)
    videos, rows = [], []
    for number in range(RECORDINGS * EACH):
        fight = number % 2 == 1
        group = f"r{number // EACH:02d}"
        videos.append(
            LabelledVideo(Path(f"{number}.mp4"), fight, "fight" if fight else "normal", group)
        )
        rows.append(rng.normal(size=(3, DIM)) + gap * fight)
    footage = Snippets.join([rng.normal(size=(n, DIM)) for n in (1, 2, 40, 80)])
    material = Material(Dataset("made", tuple(videos)), footage.lengths * 0.64 / 3600)
    return Snippets.join(rows), footage, material


def test_the_regression_is_that_of_scikit_learn() -> None:
    clips, _, material = made(0.7)
    for x in (clips.means, np.tile(clips.means, 20)):  # Fewer and more columns than rows.
        ridges = (1.0, 100.0)
        fitted = fit_ridge_logistic(x, material.fight, ridges)
        for ridge, (weights, intercept) in zip(ridges, fitted, strict=True):
            scaler = StandardScaler().fit(x)
            theirs = LogisticRegression(C=1 / ridge, tol=1e-12, max_iter=10_000)
            theirs.fit(scaler.transform(x), material.fight)
            expected = theirs.decision_function(scaler.transform(x))
            np.testing.assert_allclose(x @ weights + intercept, expected, atol=1e-4)


def test_no_recording_is_on_both_sides() -> None:
    _, _, material = made(0.0)
    fold = fold_numbers(material.dataset, OUTER_FOLDS, 3)
    assert set(fold) == set(range(OUTER_FOLDS))
    for recording in range(RECORDINGS):
        assert len(set(fold[material.recording == recording])) == 1


def test_what_is_learned_and_what_is_not() -> None:
    clips, footage, material = made(1.0)
    ones = np.ones(RECORDINGS), np.ones(4)
    strong = run_regression(clips, footage, material, repeats=2)
    figures = Figures(strong, material)
    expected = [roc_auc_score(material.fight, row) for row in strong.scores]
    assert figures.auc(ones[0]) == pytest.approx(np.mean(expected))
    assert figures.auc(ones[0]) > 0.97
    found, false, alarms = figures.at_chosen_threshold(0.7)
    assert 0.55 < found < 0.85
    assert false < 0.1
    assert alarms <= figures.alarms_per_hour(0.95, *ones)
    assert figures.alarms_per_hour(0.5, *ones) <= figures.alarms_per_hour(0.7, *ones)
    assert len(strong.ridges) == 2 * OUTER_FOLDS
    nothing = Figures(run_regression(*made(0.0), repeats=2), material)
    assert 0.3 < nothing.auc(ones[0]) < 0.62


def test_what_is_not_trained_is_scored_as_it_is() -> None:
    clips, footage, material = made(1.0)
    one, other = (Snippets(each.rows[:, :1], each.lengths) for each in (clips, footage))
    outcome = run_untrained(one, other, material, repeats=2)
    assert np.array_equal(outcome.scores[1], one.means[:, 0])
    tested = outcome.fold[0] == 2
    assert np.isnan(outcome.inner[0, 2, tested]).all()
    assert np.isfinite(outcome.inner[0, 2, ~tested]).all()
    found, _, _ = Figures(outcome, material).at_chosen_threshold(0.5)
    assert 0.35 < found < 0.65


def test_alarms_are_counted_as_events() -> None:
    thresholds = np.array([0.0, 0.5, 2.0])
    assert count_alarms(np.array([1.0]), thresholds).tolist() == [1, 1, 0]
    assert count_alarms(np.array([0.6, 0.2]), thresholds).tolist() == [1, 0, 0]
    peaks = np.zeros(30)
    peaks[[5, 6, 7, 20]] = 3.0
    # Means of three: the first reaches 3, the second 1.
    assert count_alarms(peaks, np.array([0.9, 1.5, 3.0, 3.1])).tolist() == [2, 1, 1, 0]
    # One window below the threshold does not end an alarm, two do.
    for apart, alarms in ((4, 1), (5, 2)):
        row = np.zeros(30)
        row[[10, 10 + apart]] = 3.0
        assert count_alarms(row, np.array([0.9])).tolist() == [alarms]


def test_resamples_are_paired_and_start_with_the_whole() -> None:
    clips, footage, material = made(0.6)
    figures = Figures(run_regression(clips, footage, material, repeats=1), material)
    found = resampled(
        {
            "a": lambda w, _: figures.auc(w),
            "b": lambda w, _: figures.auc(w) - 0.1,
            "c": lambda w, f: figures.alarms_per_hour(0.5, w, f),
        },
        material,
        draws=50,
    )
    assert found["a"][0] == figures.auc(np.ones(RECORDINGS))
    apart = interval(found["a"] - found["b"])
    assert (apart.value, apart.low, apart.high) == pytest.approx((0.1, 0.1, 0.1))
    whole = interval(found["a"])
    assert whole.low < whole.value < whole.high
    assert (found["c"] >= 0).all()
