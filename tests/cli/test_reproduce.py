"""``oddframe reproduce`` and ``report show`` from the command line, on tiny features."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from oddframe.research.benchmarks import BENCHMARKS
from oddframe.research.records import TrainingRecord
from oddframe.training.configure import shipped_config
from tests.cli.conftest import Answer
from tests.datasets.generated import GeneratorOptions, made_up

Run = Callable[..., Answer]


@pytest.fixture
def words(tracks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Arguments of every call: the data set and a small configuration."""
    monkeypatch.chdir(tmp_path)
    config = {
        "method": {"config": {"hidden": 8, "heads": 2, "head_dim": 4, "depth": 1}},
        "recipe": {"steps": 3, "normal_bags": 2, "abnormal_bags": 2, "segments": 6, "lr": 0.01},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(config))
    given = {"dataset": "shanghaitech_tracks", "data": tracks, "config": path, "device": "cpu"}
    return [w for name, value in given.items() for w in (f"--{name}", str(value))]


def test_a_table_from_the_command_line(oddframe: Run, words: list[str], tmp_path: Path) -> None:
    first = oddframe("reproduce", "table3", *words, "--seeds", 1)
    assert first.code == 0, first.err
    assert "3 trainings in the table: 3 to do, in 1 process" in first.err
    folder = tmp_path / "reproduce" / "shanghaitech_tracks"
    assert str(first.out).strip() == "reproduce/shanghaitech_tracks/table3.html"
    assert {p.suffix for p in folder.glob("table3.*")} == {".md", ".tex", ".csv", ".html", ".json"}
    markdown = (folder / "table3.md").read_text()
    assert "AUC_sub, last step | AUC, last step" in markdown
    assert "best on test" not in markdown

    again = oddframe("reproduce", "table3", *words, "--seeds", 1)
    assert "3 trainings in the table: all of them are done" in again.err
    fresh = oddframe("reproduce", "table3", *words, "--seeds", 1, "--fresh")
    assert "3 to do" in fresh.err

    shown = oddframe("report", "show", folder / "table3.json")
    assert shown.code == 0
    assert "made by: oddframe reproduce table3 --dataset shanghaitech_tracks" in shown.out
    row = json.loads(oddframe("report", "show", folder / "table3.json", "--json").out)["rows"][0]
    record = oddframe("report", "show", folder / row["records"][0])
    for fact in ("seed 2022", "features, sha256", "code, sha256", "memory: anomaly", "lr: 0.01"):
        assert fact in record.out


def test_trainings_that_tables_share_are_counted_once(oddframe: Run, words: list[str]) -> None:
    answer = oddframe("reproduce", "table3", "table6", *words, "--seeds", 1)
    assert "6 trainings in the tables: 6 to do" in answer.err


@pytest.mark.parametrize("stop", [1, 2])
def test_an_interrupted_grid_writes_its_tables(
    oddframe: Run, words: list[str], monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    from oddframe.research import grid

    whole, done = grid.train_task, []

    def stopped(*given: Any) -> TrainingRecord:
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(whole(*given))
        return done[-1]

    with monkeypatch.context() as patch:
        patch.setattr(grid, "train_task", stopped)
        answer = oddframe("reproduce", "table3", *words, "--seeds", 1, "--out", "o")
    assert answer.code == 130
    assert "tables of the finished trainings: o" in answer.err
    assert {p.suffix for p in Path("o").glob("table3.*")} == {
        ".md", ".tex", ".csv", ".html", ".json"
    }  # fmt: skip
    assert "(the whole): 0 of 1 trainings are done" in Path("o/table3.md").read_text()
    again = oddframe("reproduce", "table3", *words, "--seeds", 1, "--out", "o")
    assert f"{3 - stop} to do" in again.err
    assert "trainings are done" not in Path("o/table3.md").read_text()


def test_best_on_test_is_named_where_it_is_asked_for(oddframe: Run, words: list[str]) -> None:
    answer = oddframe("reproduce", "table6", *words, "--seeds", 1, "--best-on-test", "--out", "o")
    assert answer.code == 0, answer.err
    for ending in ("md", "tex", "csv", "html", "json"):
        assert "best on test" in Path(f"o/table6.{ending}").read_text()


def test_figures_from_the_command_line(oddframe: Run, words: list[str]) -> None:
    answer = oddframe(
        "reproduce", "figure4", "figure1", "figure3", *words, "--methods", "linear,ur_dmu",
        "--out", "o",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    for name in ("figure1", "figure3", "figure4"):
        for kind in ("png", "svg"):
            assert Path(f"o/{name}.{kind}").stat().st_size > 5000
    assert "o/figure4.png, figure4.svg: Linear top-k MIL, UR-DMU over" in answer.out
    assert "without key frames" in answer.out
    assert "mean norm of the fused latent" in answer.out


def test_figures_use_the_networks_of_a_table_and_keep_its_records(
    oddframe: Run, words: list[str], tmp_path: Path
) -> None:
    oddframe("reproduce", "table3", *words, "--seeds", 1)
    folder = tmp_path / "reproduce" / "shanghaitech_tracks"
    kept = {path: path.read_bytes() for path in folder.glob("trainings/*/*")}
    assert {path.suffix for path in kept} == {".json", ".safetensors"}

    shown = oddframe("reproduce", "figure3", *words, "--seeds", 1)
    assert shown.code == 0, shown.err
    assert "1 of 1" not in shown.err  # Nothing was trained.
    record = Path(shown.out.splitlines()[-1].split(": ")[1])
    assert record.parent.parent.name == "trainings"

    # Of a table that kept no networks, and anew: a training of its own.
    (tmp_path / record.with_suffix(".safetensors")).unlink()
    for more, trained in (((), True), ((), False), (("--fresh",), True)):
        apart = oddframe("reproduce", "figure3", *words, "--seeds", 1, *more)
        assert ("1 of 1" in apart.err) == trained
        assert "/networks/" in apart.out
    assert all(path.read_bytes() == kept[path] for path in folder.glob("trainings/*/*"))
    assert len(list(folder.glob("trainings/*/*"))) == len(kept) - 1


@pytest.mark.parametrize(("name", "table"), [("ucf_crime", "table1"), ("xd_violence", "table2")])
def test_published_data_sets_from_their_lists_to_the_table(
    oddframe: Run, words: list[str], shared_data: Path, tmp_path: Path, name: str, table: str
) -> None:
    made = made_up(
        name, shared_data, tmp_path / "made", GeneratorOptions(scale=0.05, videos=3, dim=16)
    )
    given = {"dataset": name, "data": made.lists, "features": made.features, "out": "o"}
    given |= {"sound": made.sound} if name == "xd_violence" else {}
    config = words[words.index("--config") + 1]
    own = [word for key, value in given.items() for word in (f"--{key}", value)]
    answer = oddframe("reproduce", table, *own, "--config", config, "--seeds", 1, "--device", "cpu")
    assert answer.code == 0, answer.err
    text = Path(f"o/{table}.md").read_text()
    published = {"ucf_crime": "I3D | 86.97 |", "xd_violence": "RGB+Audio | 81.77 |"}
    assert published[name] in text
    assert "UR-DMU (ours)" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ucf_crime", "xd_violence"])
def test_every_published_file_goes_through_the_published_configuration(
    oddframe: Run, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All names, counts, crops and dimensions, 64 + 64 bags; videos, bags and training short."""
    monkeypatch.chdir(tmp_path)
    made = made_up(name, shared_data, tmp_path / "made", GeneratorOptions(scale=0.002))
    settings = yaml.safe_load(shipped_config(BENCHMARKS[name].config).read_text())
    settings["recipe"] |= {"steps": 2, "segments": 4}  # Bags of 200 would be 13 GB on the disk.
    path = tmp_path / "short.yaml"
    path.write_text(yaml.safe_dump(settings))
    given = {"dataset": name, "data": made.lists, "features": made.features, "config": path}
    given |= {"sound": made.sound} if name == "xd_violence" else {}
    own = [word for key, value in given.items() for word in (f"--{key}", value)]
    table = "table1" if name == "ucf_crime" else "table2"
    own += ["--methods", "ur_dmu", "--seeds", "1", "--device", "cpu", "--out", "o"]
    answer = oddframe("reproduce", table, *own)
    assert answer.code == 0, answer.err
    rows = json.loads(oddframe("report", "show", f"o/{table}.json", "--json").out)["rows"]
    (path,) = [each for row in rows for each in row.get("records", ())]
    record = json.loads(oddframe("report", "show", f"o/{path}", "--json").out)
    assert record["config"]["recipe"]["normal_bags"] == 64
    assert 0 < record["figures"]["auc"] < 1


@pytest.mark.parametrize(
    ("what", "more", "line"),
    [
        (["table7"], [], "there is no table 'table7'"),
        (["figure1", "table3"], [], "table3: figures are figure1"),
        (["figure1"], ["--video", "nobody"], "--video nobody: no test video"),
        (["figure3"], ["--video", "01_005"], "--video: figure3 shows all test videos"),
        (["figure3"], ["--methods", "linear"], "--methods is only for figures 1 and 4"),
        (["figure1"], ["--best-on-test"], "figures show the last step"),
        (["table3"], ["--methods", "linear"], "--methods is only for tables 1 and 2"),
        (["table1"], ["--methods", "rtfn"], "there is no method 'rtfn'"),
        (["table1"], ["--methods", "normality"], "normality learns from normal videos only"),
        (["table3"], ["--video", "01_005"], "--video is only for figures 1 and 4"),
        (["figure1"], ["--methods", "rtfn"], "there is no method 'rtfn'"),
        (["figure1"], ["--methods", "normality"], "normality learns from normal videos only"),
    ],
)
def test_a_wrong_call_prints_one_line(
    oddframe: Run, words: list[str], what: list[str], more: list[str], line: str
) -> None:
    answer = oddframe("reproduce", *what, *words, *more, "--quiet")
    assert answer.code == 2
    assert line in answer.err
    assert len(answer.err.splitlines()) == 1


def test_report_refuses_other_files(oddframe: Run, tmp_path: Path) -> None:
    answer = oddframe("report", "show", tmp_path / "none.json")
    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1
