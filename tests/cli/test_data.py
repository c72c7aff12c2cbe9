"""``oddframe data``: counts and problems, as printed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from oddframe.cli.demo import DEMO_DATA
from tests.cli.conftest import Answer
from tests.datasets.generated import Generated, GeneratorOptions, made_up

Run = Callable[..., Answer]
CLIPS = Path(__file__).parents[1] / "data"


def made(root: Path) -> Path:
    for label, clip in (("normal", "nofi079.mp4"), ("fight", "fi150.mp4")):
        (root / label).mkdir()
        shutil.copy(CLIPS / clip, root / label)
    return root


def test_info_counts(oddframe: Run, tmp_path: Path) -> None:
    result = oddframe("data", "info", str(made(tmp_path)), "--json")
    assert result.code == 0
    counts = json.loads(result.out)
    assert (counts["videos"], counts["normal"], counts["abnormal"]) == (2, 1, 1)
    assert counts["classes"] == ["fight"]


def test_published_counts(oddframe: Run, shared_data: Path) -> None:
    result = oddframe(
        "data", "info", "shanghaitech_tracks", "--data", str(shared_data / "shanghaitech_tracks")
    )
    assert result.code == 0
    for line in ("videos             437", "anomalous frames   7962", "238 train, 199 test"):
        assert line in result.out


def test_check_prints_problems_and_exits_with_three(oddframe: Run, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    root = made(tmp_path / "clips")
    words = ("data", "check", root, "--store", tmp_path / "store")
    assert oddframe(*words).code == 0
    (root / "fight" / "broken.mp4").write_bytes(b"no video")
    result = oddframe(*words)
    assert result.code == 3
    assert "WRONG" in result.out
    assert "broken.mp4" in result.out


def test_check_warns_if_two_groups_show_one_scene(oddframe: Run, tmp_path: Path) -> None:
    for place, clip in (
        ("normal/yard", "nofi093.mp4"),
        ("fight/gate", "fi128.mp4"),
        ("fight/hall", "fi026.mp4"),
    ):
        (tmp_path / "clips" / place).mkdir(parents=True)
        shutil.copy(DEMO_DATA / clip, tmp_path / "clips" / place)
    words = ("data", "check", tmp_path / "clips", "--store", tmp_path / "store")
    result = oddframe(*words)
    assert result.code == 0
    (line,) = [text for text in result.out.splitlines() if "one place" in text]
    assert line.startswith("WARNING  the groups 'gate' and 'yard'")
    assert "'hall'" not in line
    told = json.loads(oddframe(*words, "--json").out)
    assert any("one place" in warning for warning in told["warnings"])


def test_a_name_without_its_folder_is_a_usage_error(oddframe: Run) -> None:
    result = oddframe("data", "info", "ped2")
    assert result.code == 2
    assert "ped2:/data/ped2" in result.err


@pytest.fixture
def ucf(shared_data: Path, tmp_path: Path) -> Generated:
    return made_up("ucf_crime", shared_data, tmp_path, GeneratorOptions(scale=0.01, videos=1))


def test_the_counts_of_the_papers_are_printed(oddframe: Run, shared_data: Path) -> None:
    answer = oddframe("data", "info", "ucf_crime", "--data", shared_data / "ucf_crime").out
    for line in (
        "train videos       810 abnormal, 800 normal",
        "test videos        140 abnormal, 150 normal",
        "crop files         16100 train, 2900 test",
        "labelled frames    1109680",
        "anomalous frames   84128",
        "beware             5 annotated intervals end past the last frame",
    ):
        assert line in answer
    xd = oddframe("data", "info", f"xd_violence:{shared_data / 'xd_violence'}", "--json")
    counts = json.loads(xd.out)
    assert counts["train_videos"] == ["1905 abnormal", "2049 normal"]
    assert (counts["labelled_frames"], counts["anomalous_frames"]) == (2_330_384, 537_805)


def test_feature_files_are_checked(oddframe: Run, ucf: Generated) -> None:
    words = ("data", "check", "ucf_crime", "--data", ucf.lists, "--features", ucf.features)
    whole = oddframe(*words)
    assert whole.code == 0
    assert whole.out == "4 of 4 videos are complete, 40 files: nothing wrong\n"
    for crop in range(2, 7):
        ucf.file("Abuse028_x264", crop).unlink()
    answer = oddframe(*words, "--most", 2)
    assert answer.code == 3
    first, *examples, more, last = answer.out.splitlines()
    assert first.split(maxsplit=2) == ["WRONG", "5", "files that are not there"]
    assert [line.split("__")[1][0] for line in examples] == ["2", "3"]
    assert "and 3 more" in more
    assert last.startswith("3 of 4 videos are complete")
    found = json.loads(oddframe(*words, "--json").out)
    assert len(found["faults"]["missing"]) == 5


def test_lists_can_be_checked_without_features(oddframe: Run, shared_data: Path) -> None:
    answer = oddframe("data", "check", "ucf_crime", "--data", shared_data / "ucf_crime")
    assert answer.code == 0
    assert "lists alone, no files" in answer.out
    assert oddframe("data", "check", f"ucf_crime:{shared_data / 'ucf_crime'}", "--quick").code == 2
