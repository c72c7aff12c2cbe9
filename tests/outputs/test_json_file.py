"""The score file."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.errors import InputError
from oddframe.events import EventRule
from oddframe.outputs.score_files import read_score_file, result_to_dict, write_json

MakeResult = Callable[..., VideoResult]


def same(one: VideoResult, other: VideoResult) -> None:
    np.testing.assert_array_equal(one.track.scores, other.track.scores)
    assert one.track.timebase == other.track.timebase
    np.testing.assert_array_equal(one.track.timebase.frame_times, other.track.timebase.frame_times)
    track = one.track
    assert replace(other, track=track) == one


def test_schema_1_has_its_fields(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(90, 25.0, [(1.0, 2.0)])
    write_json(result, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert data["schema"] == 1
    assert data["video"] == "cam3.mp4"
    assert (data["frames"], data["fps"], data["duration_s"]) == (90, 25.0, 3.6)
    assert data["snippet_frames"] == 16
    assert len(data["snippet_scores"]) == 6
    assert data["threshold"] == 0.5
    assert set(data["model"]) >= {"name", "sha256", "method", "knows"}
    (event,) = data["events"]
    assert set(event) == {"start_s", "end_s", "peak_s", "score"}
    assert "snippet_times" not in data
    assert "truth" not in data


@pytest.mark.parametrize(
    "timebase",
    [
        {},
        {"stride": 8},
        {"rate": 12.5, "stride": 32},
        {"pts": np.cumsum(np.full(90, 0.04) + 0.01 * np.sin(np.arange(90)) ** 2)},
        {"start_s": 2.5},
        {"pts": np.arange(90) / 25 + np.repeat([0.1, 31_250, 50_000], 30), "gaps": (30, 60)},
    ],
)
@pytest.mark.parametrize("mask", ["", "0123456789abcdef"])
@pytest.mark.parametrize("truth", [None, [], [(1.0, 2.0)]])
def test_a_result_is_read_as_it_was_written(
    make_result: MakeResult, tmp_path: Path, timebase: dict[str, object], truth: object, mask: str
) -> None:
    rule = EventRule(0.6, 0.3, 0.5, 0.2, 1.5)
    result = make_result(
        90, 25.0, [(1.0, 2.5)], video='Ü "3".mp4', truth=truth, rule=rule, **timebase
    )
    result = replace(result, mask=mask)
    write_json(result, tmp_path / "a.json")
    same(result, read_score_file(tmp_path / "a.json").result)


def test_times_are_written_where_the_frame_rate_does_not_give_them(
    make_result: MakeResult,
) -> None:
    pts = np.arange(90) * 0.04 + np.where(np.arange(90) > 40, 3.0, 0.0)
    result = make_result(90, 25.0, pts=pts)
    data = result_to_dict(result)
    assert data["frame_times"] == pts.tolist()
    assert data["snippet_times"] == result.track.timebase.snippet_times().tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("no json", "no JSON"),
        ("[1, 2]", "not a score file"),
        ('{"schema": 2}', "schema 2"),
        ('{"schema": 1, "video": "a"}', "no field"),
    ],
)
def test_other_files_are_refused_with_a_reason(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as refused:
        read_score_file(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_scores_that_do_not_fit_the_frames_are_refused(
    make_result: MakeResult, tmp_path: Path
) -> None:
    data = result_to_dict(make_result(90))
    data["frames"] = 900
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError):
        read_score_file(path)


@pytest.mark.parametrize("stride", [16, 10**8])
def test_a_file_that_claims_too_many_frames_is_refused_without_allocating_them(
    make_result: MakeResult, tmp_path: Path, stride: int
) -> None:
    data = result_to_dict(make_result(160)) | {"frames": 10**9, "snippet_stride": stride}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(data))
    tracemalloc.start()
    with pytest.raises(InputError, match="it says 1000000000 frames") as refused:
        read_score_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(path) in str(refused.value)
    assert peak < 1e6


def test_gaps_and_a_late_start_are_written_where_there_are_any(make_result: MakeResult) -> None:
    pts = np.arange(90) / 25 + np.repeat([2.5, 31_250.0], [30, 60])
    data = result_to_dict(make_result(90, pts=pts, gaps=(30,)))
    assert data["start_s"] == 2.5
    assert data["gaps"] == [[pytest.approx(3.7), pytest.approx(31_251.2)]]
    assert not {"gaps", "start_s"} & result_to_dict(make_result(90)).keys()


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_score_file(tmp_path / "none.json")
