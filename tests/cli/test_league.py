"""``oddframe league`` from the command line, on a tiny data set of features."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from oddframe.research.leaderboard.competitors import read_rates
from tests.cli.conftest import Answer

Run = Callable[..., Answer]


@pytest.fixture
def words(tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of every call."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump({"recipe": {"normal_bags": 2, "abnormal_bags": 2}}))
    given = {"dataset": "shanghaitech_tracks", "data": tracks, "config": path, "device": "cpu"}
    given |= {"methods": "linear,normality", "seeds": 2}
    return [w for name, value in given.items() for w in (f"--{name}", str(value))]


def test_a_league_from_the_command_line(oddframe: Run, words: list[str]) -> None:
    first = oddframe("league", *words)
    assert first.code == 0, first.err
    assert first.out.strip() == "league/LEAGUE.md"
    assert "4 of 4 trainings to do" in first.err
    assert "Linear top-k MIL: 2 of about" in first.err
    assert "4 of 4: Normality, repeat 1, fold 0: AUC" in first.err
    text = Path("league/LEAGUE.md").read_text()
    assert "## ShanghaiTech, features of tracks" in text
    assert text.count("| 2 of 2 |") == 2
    assert Path("league/league_ranks.png").stat().st_size > 5000
    again = oddframe("league", *words, "--table", "docs/table.md")
    assert "to do" not in again.err
    assert Path("docs/table.md").read_text() == text
    assert Path("docs/league_ranks.svg").exists()


def test_rates_are_chosen_and_then_used(oddframe: Run, words: list[str]) -> None:
    first = oddframe("league", *words, "--choose-rates")
    assert first.code == 0, first.err
    assert first.out.strip() == "league/rates.json"
    assert "12 of 12 trainings to do" in first.err  # Normality has no rate.
    line = first.err.splitlines()[-1]
    assert line.startswith("12 of 12: Linear top-k MIL, rate x 10, repeat 0, fold 2: AUC ")
    assert ", AUC of videos " in line
    rates = read_rates(Path("league/rates.json"))
    assert rates is not None
    chosen = 2e-3 * rates.factor("linear")
    again = oddframe("league", *words, "--choose-rates")
    assert "0 of 12 trainings to do" in again.err
    assert oddframe("league", *words).code == 0
    text = Path("league/LEAGUE.md").read_text()
    assert f"| Linear top-k MIL | adam, {chosen:g}, 0.01 |" in text
    assert "## Learning rates" in text
    refused = oddframe("league", *words, "--choose-rates", "--methods", "normality")
    assert refused.code == 2
    assert "no method with a learning rate" in refused.err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_league_on_cuda(oddframe: Run, words: list[str]) -> None:
    words[words.index("cpu")] = "cuda"
    answer = oddframe("league", *words, "--jobs", 2)
    assert answer.code == 0, answer.err
    assert Path("league/LEAGUE.md").read_text().count("| 2 of 2 |") == 2


def test_a_wrong_call_prints_one_line(oddframe: Run, words: list[str]) -> None:
    for more, line in ((["--methods", "rtfn"], "no method 'rtfn'"), (["--draws", 2], "--draws")):
        answer = oddframe("league", *words, *more, "--quiet")
        assert answer.code == 2
        assert line in answer.err
        assert len(answer.err.splitlines()) == 1


@pytest.mark.slow
def test_a_killed_league_resumes(oddframe: Run, words: list[str]) -> None:
    command = [sys.executable, "-m", "oddframe", "league", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ) as league:
        while league.poll() is None and not list(Path("league").rglob("r*f*.json")):
            time.sleep(0.01)
        league.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in Path("league").rglob("r*f*.json")}
    assert kept
    answer = oddframe("league", *words)
    assert answer.code == 0, answer.err
    assert "| 2 of 2 |" in Path("league/LEAGUE.md").read_text()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_help_lists_surveillance_fight_once_and_its_former_name_is_accepted(
    oddframe: Run, tmp_path: Path
) -> None:
    shown = oddframe("league", "--help").out
    assert "surveillance_fight" in shown
    assert ", fight" not in shown
    for name in ("fight", "surveillance_fight"):
        answer = oddframe("league", "--dataset", name, "--data", tmp_path)
        assert answer.err == f"oddframe: {tmp_path / 'clips.csv'}: no such file\n"
