"""``oddframe evaluate`` on real clips."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from oddframe.cli.demo import DEMO_DATA
from oddframe.features.store.store import content_hash
from oddframe.modelfile import load_model, save_model, short_digest
from tests.cli.conftest import FOUR_CLIPS as CLIPS
from tests.cli.conftest import Answer

Run = Callable[..., Answer]


def test_figures_page_and_tables(oddframe: Run, data: Path, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    words = ("evaluate", "fight", data, "--store", store, "--out", out)
    answer = oddframe(*words, "--jobs", 2)
    assert answer.code == 0
    assert "of 2 abnormal videos caught" in answer.out
    assert "frame AUC" in answer.out
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert (found["all"]["videos"], found["all"]["abnormal"]) == (4, 2)
    assert sum(found["all"]["confusion"].values()) == 4
    events = found["all"]["events"]
    assert events["found"] + events["missed"] == 1
    assert set(found["groups"]) == {"cam0", "cam1"}
    assert [Path(video["video"]).name for video in found["videos"]] == list(CLIPS)
    assert found["files"] == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest()
        for name in ("evaluation.md", "evaluation.html")
    }
    assert "## By group" in (out / "evaluation.md").read_text(encoding="utf-8")
    page = (out / "evaluation.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/jpeg') == 4

    again = oddframe(*words[:-2], "--json", "--protocol", "official", "--threshold", 0.05)
    other = json.loads(again.out)
    assert other["protocol"] == "official"
    assert other["all"]["confusion"]["missed"] <= found["all"]["confusion"]["missed"]
    assert other["all"]["frames"]["n_frames"] % 16 == 0
    assert [v["score"] for v in other["videos"]] == [v["score"] for v in found["videos"]]


def test_a_video_that_cannot_be_read_is_left_out(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    (tmp_path / CLIPS[3]).write_bytes(b"no video")
    answer = oddframe("evaluate", "fight", data, "--store", store, "--markdown")
    assert answer.code == 3
    assert f"left out: {tmp_path / CLIPS[3]}" in answer.err
    assert "> 1 of 4 videos could not be scored." in answer.out


def test_videos_that_were_trained_on_are_reported(
    oddframe: Run, data: Path, store: Path, tmp_path: Path
) -> None:
    """By their contents, and with them the others of their groups."""
    own = tmp_path / "own.safetensors"
    learned = [short_digest(content_hash(data.with_name(CLIPS[0])))]
    save_model(replace(load_model("fight"), card={"data": "other", "learned_from": learned}), own)
    answer = oddframe("evaluate", own, data, "--store", store)
    assert answer.code == 0
    assert "this model has learned from 2 of 4 videos, or from others of their groups" in answer.err
    assert "learned from" not in oddframe("evaluate", "fight", data, "--store", store).err


def test_names_of_folders_and_groups_are_no_evidence_of_training(
    oddframe: Run, store: Path, tmp_path: Path
) -> None:
    """The shipped model's data was called so, too; one video of two is really of it."""
    data = tmp_path / "fight_videos"
    assert load_model("fight").card["data"] == data.name
    for name in CLIPS:
        folder = data / ("fight" if name.startswith("fi") else "normal")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(DEMO_DATA / name, folder)
    answer = oddframe("evaluate", "fight", data, "--store", store)
    assert answer.code == 0
    assert "learned from" not in answer.err
    own = tmp_path / "own.safetensors"
    model = load_model("fight")
    learned = [short_digest(content_hash(DEMO_DATA / CLIPS[0]))]
    save_model(replace(model, card={**model.card, "learned_from": learned}), own)
    answer = oddframe("evaluate", own, data, "--store", store)
    assert "this model has learned from 1 of 4 videos" in answer.err


def test_wrong_calls_are_refused(oddframe: Run, data: Path, tmp_path: Path) -> None:
    assert oddframe("evaluate", "fight", data, "--json", "--markdown").code == 2
    assert oddframe("evaluate", "fight", tmp_path / "none").code == 3
