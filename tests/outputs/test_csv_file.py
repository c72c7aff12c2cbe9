"""Scores as CSV."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.outputs.score_files import write_csv

MakeResult = Callable[..., VideoResult]


def rows_of(result: VideoResult, path: Path) -> list[dict[str, str]]:
    write_csv(result, path)
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("n_frames", [1, 15, 16, 17, 100])
def test_every_frame_has_a_row(make_result: MakeResult, tmp_path: Path, n_frames: int) -> None:
    result = make_result(n_frames, 29.97, [(1.0, 2.0)])
    rows = rows_of(result, tmp_path / "a.csv")
    assert [int(row["frame"]) for row in rows] == list(range(n_frames))
    np.testing.assert_allclose(
        [float(row["score"]) for row in rows], result.track.to_frames(), atol=1e-6
    )


@pytest.mark.parametrize("fps", [25.0, 30_000 / 1001, 7.3])
def test_frames_with_high_scores_are_in_events(
    make_result: MakeResult, tmp_path: Path, fps: float
) -> None:
    result = make_result(500, fps, [(3.0, 6.0), (10.0, 13.0)])
    assert len(result.events) == 2
    for row in rows_of(result, tmp_path / "a.csv"):
        assert int(row["event"]) == (float(row["score"]) >= 0.5)


def test_times_are_those_of_the_video_with_a_variable_rate(
    make_result: MakeResult, tmp_path: Path
) -> None:
    pts = np.concatenate([np.arange(50) * 0.04, 10 + np.arange(50) * 0.2])
    result = make_result(100, 9.0, [(11.0, 16.0)], pts=pts)
    rows = rows_of(result, tmp_path / "a.csv")
    np.testing.assert_allclose([float(row["time_s"]) for row in rows], pts, atol=1e-6)
    inside = [int(row["event"]) == 1 for row in rows]
    np.testing.assert_array_equal(inside, result.track.to_frames() >= 0.5)
