"""The JSON schemas of the score file and of ``score --json``: real outputs are valid."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator, ValidationError

from oddframe.cli.score import outcomes_to_dict
from oddframe.detector import VideoResult
from oddframe.events import EventRule, find_events
from oddframe.outputs.write import write
from oddframe.scoring_job import ScoringJob, ScoringOutcome
from oddframe.timeline import ScoreTrack, TileScores
from tests.conftest import ROOT

MakeResult = Callable[..., VideoResult]


def schema_of(name: str) -> dict[str, Any]:
    path = files("oddframe.outputs") / "schema" / f"{name}.schema.json"
    schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return schema


FILE = Draft202012Validator(schema_of("score_file"))
ANSWER = Draft202012Validator(schema_of("score_answer"))


@pytest.fixture
def every(make_result: MakeResult) -> list[VideoResult]:
    """Results that have every field between them."""
    rule = EventRule(0.6, 0.3, 0.5, 0.2, 1.5)
    pts = np.cumsum(np.full(90, 0.04) + 0.01 * np.sin(np.arange(90)) ** 2)
    plain = make_result(90, 25.0, [(1.0, 2.5)], rule=rule, truth=[(1.0, 2.0)])
    grid = TileScores((2, 2), np.repeat(plain.track.scores[None], 4, axis=0))
    track = ScoreTrack(plain.track.scores, plain.track.timebase, grid)
    boxes = np.tile([0.1, 0.2, 0.5, 0.8], (len(plain.track.scores), 1))
    moving = replace(plain.track, boxes=boxes)
    leaps = np.arange(90) / 25 + np.repeat([0.1, 31_250, 50_000], 30)
    return [
        plain,
        make_result(90, 25.0, truth=[]),
        make_result(90, 25.0, [(1.0, 2.5)], rate=12.5, stride=32),
        make_result(90, 25.0, [(1.0, 2.5)], pts=pts),
        make_result(90, 25.0, [(1.0, 2.5)], start_s=2.5),
        make_result(90, 25.0, [(0.5, 1.0)], pts=leaps, gaps=(30, 60)),
        replace(plain, mask="0123456789abcdef"),
        replace(plain, track=track, events=find_events(track, rule)),
        replace(plain, track=moving, events=find_events(moving, rule)),
    ]


def test_score_files_are_valid_and_every_field_is_described(
    every: list[VideoResult], tmp_path: Path
) -> None:
    seen: set[str] = set()
    for result in every:
        write(result, ["json", "csv"], tmp_path, "a")
        data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
        FILE.validate(data)
        seen |= set(data)
        described = FILE.schema["properties"]["events"]["items"]["properties"]
        assert all(set(event) <= set(described) for event in data["events"])
    assert seen == set(FILE.schema["properties"])
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    missing = [name for name in seen - {"schema", "video", "model"} if f"`{name}`" not in page]
    assert missing == []


def test_answers_are_valid(every: list[VideoResult]) -> None:
    outcomes = [ScoringOutcome(ScoringJob(Path("a.mp4"), "a"), result) for result in every]
    failed = ScoringOutcome(ScoringJob(Path("b.mp4"), "b"), error="b.mp4: not a video", exit_code=3)
    ANSWER.validate(json.loads(json.dumps(outcomes_to_dict([*outcomes, failed]))))
    with pytest.raises(ValidationError):
        ANSWER.validate({**outcomes_to_dict([failed]), "failed": [{"video": "b.mp4"}]})
    with pytest.raises(ValidationError):
        ANSWER.validate({**outcomes_to_dict(outcomes), "videos": [{"schema": 1}]})


def test_both_schemas_say_the_same_of_a_result() -> None:
    about = ("$schema", "title", "description")
    result = {key: value for key, value in FILE.schema.items() if key not in about}
    assert ANSWER.schema["$defs"]["result"] == result


WRONG: list[tuple[tuple[str | int, ...], Any]] = [
    (("schema",), 2),
    (("video",), ""),
    (("frames",), 0),
    (("frames",), 2.5),
    (("fps",), 0),
    (("duration_s",), "3.6"),
    (("snippet_rate",), 0),
    (("snippet_scores",), []),
    (("snippet_scores", 0), 1.5),
    (("snippet_scores", 0), None),
    (("events", 0, "score"), -0.1),
    (("events", 0, "where"), [0, 0, 1]),
    (("events", 0), [1.0, 2.0]),
    (("threshold",), -1),
    (("rule", "release"), None),
    (("model", "sha256"), "fight"),
    (("damaged_packets",), -1),
    (("mask",), "left.png"),
    (("truth",), [[1.0]]),
    (("files",), {"a.csv": "none"}),
    (("checksum",), 7),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_a_wrong_value_is_not_valid(
    every: list[VideoResult], tmp_path: Path, place: tuple[str | int, ...], value: Any
) -> None:
    write(every[0], ["json"], tmp_path, "a")
    data = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    part: Any = data
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    assert not FILE.is_valid(data)


def test_a_missing_field_is_not_valid(every: list[VideoResult], tmp_path: Path) -> None:
    write(every[0], ["json"], tmp_path, "a")
    whole = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    for places in ((), ("rule",), ("model",), ("events", 0)):
        schema: Any = FILE.schema
        for step in places:
            schema = schema["items"] if step == 0 else schema["properties"][step]
        for name in schema["required"]:
            data = copy.deepcopy(whole)
            part: Any = data
            for step in places:
                part = part[step]
            del part[name]
            assert not FILE.is_valid(data), (places, name)
