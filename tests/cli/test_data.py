"""``oddframe data``: counts, and what is wrong, as a user sees them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from oddframe.cli.demo import DATA
from tests.cli.conftest import Answer

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
        "data", "info", "shanghaitech_tracks", "--lists", str(shared_data / "shanghaitech_tracks")
    )
    assert result.code == 0
    for line in ("videos             437", "anomalous frames   7962", "238 train, 199 test"):
        assert line in result.out


def test_check_says_what_is_wrong_and_ends_with_three(oddframe: Run, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    root = made(tmp_path / "clips")
    words = ("data", "check", root, "--store", tmp_path / "store")
    assert oddframe(*words).code == 0
    (root / "fight" / "broken.mp4").write_bytes(b"no video")
    result = oddframe(*words)
    assert result.code == 3
    assert "WRONG" in result.out
    assert "broken.mp4" in result.out


def test_check_says_when_two_groups_show_one_place(oddframe: Run, tmp_path: Path) -> None:
    for place, clip in (
        ("normal/yard", "nofi093.mp4"),
        ("fight/gate", "fi128.mp4"),
        ("fight/hall", "fi026.mp4"),
    ):
        (tmp_path / "clips" / place).mkdir(parents=True)
        shutil.copy(DATA / clip, tmp_path / "clips" / place)
    words = ("data", "check", tmp_path / "clips", "--store", tmp_path / "store")
    result = oddframe(*words)
    assert result.code == 0
    (line,) = [text for text in result.out.splitlines() if "one place" in text]
    assert line.startswith("BEWARE   the groups 'gate' and 'yard'")
    assert "'hall'" not in line
    told = json.loads(oddframe(*words, "--json").out)
    assert any("one place" in warning for warning in told["warnings"])


def test_a_name_without_its_folder_is_a_wrong_call(oddframe: Run) -> None:
    result = oddframe("data", "info", "ped2")
    assert result.code == 2
    assert "ped2:/data/ped2" in result.err
