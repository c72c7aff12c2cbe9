"""``oddframe.score``: what the verb prints and writes is tested in ``tests/cli/test_score.py``."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import pytest

import oddframe
from oddframe import scoring
from oddframe.errors import InputError, UsageError
from oddframe.scoring_job import ScoringOutcome


def test_the_example_in_the_docstring_works(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, tmp_path / "fight.mp4")
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(scoring.score, "score", globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
    assert sorted(path.name for path in Path("results").iterdir()) == [
        "fight.csv",
        "fight.json",
        "fight.vtt",
    ]


def test_outcomes_progress_and_messages_are_reported(clip: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("This is not a video.\n")
    outcomes: list[ScoringOutcome] = []
    progress: list[tuple[int, int | None, str]] = []
    messages: list[str] = []
    summary = oddframe.score(
        [clip, broken],
        profile="fast",
        out=tmp_path / "out",
        on_outcome=outcomes.append,
        message=messages.append,
        progress=lambda *what: progress.append(what),
    )
    assert summary.outcomes == tuple(outcomes)
    assert [result.video for result in summary.results] == [str(clip)]
    assert list(summary.failed) == [str(broken)]
    assert summary.exit_code == InputError.exit_code
    assert messages[0].startswith("fight: trained on fights")
    assert progress[0] == (0, None, f"scoring: {clip.name}")
    done, expected, _ = next(each for each in reversed(progress) if each[1] is not None)
    assert done == expected
    again = oddframe.score(clip, profile="fast", out=tmp_path / "out")
    assert [each.already_scored for each in again.outcomes] == [True]


def test_an_exception_of_the_progress_callback_stops_the_run_and_keeps_what_is_done(
    clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    def stop(done: int, expected: int | None, text: str) -> None:
        if normal_clip.name in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        oddframe.score([clip, normal_clip], profile="fast", out=tmp_path, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == [f"{clip.stem}.json"]


def test_the_first_failure_can_be_raised(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("This is not a video.\n")
    with pytest.raises(InputError, match=r"broken\.mp4"):
        oddframe.score(tmp_path / "broken.mp4", profile="fast", raise_errors=True)


def test_wrong_arguments_are_refused_before_anything_is_scored(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to score"):
        oddframe.score()
    with pytest.raises(UsageError, match="did you mean json"):
        oddframe.score(clip, formats=["jsn"], out=tmp_path)
    with pytest.raises(UsageError, match="name it with out"):
        oddframe.score(clip, formats=["csv"])
