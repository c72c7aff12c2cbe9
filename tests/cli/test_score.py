"""``oddframe score`` on real clips, and on files and calls that are wrong."""

from __future__ import annotations

import base64
import csv
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import jsonschema
import numpy as np
import pytest

from oddframe import scoring
from oddframe._utils.worker_pool import Heartbeat
from oddframe.cameras import with_thresholds
from oddframe.detector import Detector
from oddframe.events import smooth_frame_scores
from oddframe.features.extraction.extract_video import make_spec
from oddframe.features.formats.feature_file import write_features
from oddframe.features.spec import Features
from oddframe.modelfile import load_model, save_model
from oddframe.outputs.score_files import read_score_file
from oddframe.outputs.text import damage_notes
from oddframe.outputs.write import write
from oddframe.scoring_job import ScoringJob, ScoringOutcome
from tests.cli.conftest import Answer
from tests.conftest import BAD_VIDEOS, ODD_VIDEOS, ROOT, Image, encode
from tests.sounds import tone, with_sound
from tests.test_modelfile import made_model

Run = Callable[..., Answer]


def schema_of(name: str) -> dict[str, Any]:
    path = ROOT / "src" / "oddframe" / "outputs" / "schema" / f"{name}.schema.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_clip_gets_a_score_for_every_frame(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    answer = oddframe("score", clip, "--out", tmp_path, "--format", "csv,vtt")
    assert answer.code == 0
    assert str(clip) in answer.out
    assert "trained on fights" in answer.err
    data = json.loads((tmp_path / "fi150.json").read_text())
    jsonschema.validate(data, schema_of("score_file"))
    assert (data["schema"], data["frames"]) == (1, 50)
    assert data["model"]["name"] == "fight"
    with (tmp_path / "fi150.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    assert all(0 <= float(row["score"]) <= 1 for row in rows)
    assert (tmp_path / "fi150.vtt").read_text().startswith("WEBVTT")


def test_the_same_command_resumes(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    first = oddframe("score", clip, "--out", tmp_path)
    before = (tmp_path / "fi150.json").stat().st_mtime_ns
    again = oddframe("score", clip, "--out", tmp_path)
    assert "scored before" in again.out
    assert "scored before" not in first.out
    assert (tmp_path / "fi150.json").stat().st_mtime_ns == before
    other = oddframe("score", clip, "--out", tmp_path, "--threshold", "0.01")
    assert "scored before" not in other.out


KILLED = """
import os, shutil, signal, sys
from oddframe import scoring
from oddframe.cli import score
from oddframe.cli.main import run_command_line
from oddframe.detector import Detector
from oddframe.outputs.pages import report

Detector.load("fight")  # Each process that is forked has it imported then.
out, words = sys.argv[1], sys.argv[2:]

def run(folder, threshold, moves):
    "Score in a process that is killed where it would move its next file into its place."
    child = os.fork()
    if child == 0:
        left = [moves]
        def kill(event, arguments):
            if event == "os.rename" and str(arguments[1]).startswith(out):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
        sys.addaudithook(kill)
        sys.argv = ["oddframe", "score", *words, "--out", folder, "--threshold", threshold]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        run_command_line()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

print(run(f"{out}/whole", "0.05", 99))
for moves in (1, 3, 5, 7):
    shutil.copytree(f"{out}/whole", f"{out}/{moves}")
    print(run(f"{out}/{moves}", "0.9", moves))
"""


def shown_by(folder: Path, stem: str) -> dict[str, bytes]:
    """What the files of a result should be, by its score file and the pictures of the model."""
    fresh, result = folder / "fresh", read_score_file(folder / f"{stem}.json").result
    result = Detector.load("fight").with_pictures(result)
    write(result, ["json", "csv", "vtt", "html"], fresh, stem)
    return {path.name: path.read_bytes() for path in fresh.glob(f"{stem}.*")}


def results_of(index: Path) -> dict[str, tuple[int, str]]:
    """By the path of each video on an index: how many events, and where its report is."""
    table = index.read_text(encoding="utf-8").split('id="videos"')[1].split("</table>")[0]
    found = re.findall(
        r'<tr data-name="([^"]*)"[^>]*data-events="(\d+)".*?(?:href="([^"]*)"|</th>)',
        table,
        re.DOTALL,
    )
    return {name: (int(events), link) for name, events, link in found}


@pytest.fixture
def features_a(tmp_path: Path) -> Path:
    """A feature file of 40 snippets, 25.6 s, for the shipped model."""
    spec, rng = Detector.load("fight").spec, np.random.default_rng(0)
    array = rng.normal(size=(1, 40, spec.dim)).astype(np.float32)
    write_features(tmp_path / "a.safetensors", Features(array, spec, spec.timebase(25.0, 640)))
    return tmp_path / "a.safetensors"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process that was forked")
def test_files_and_index_agree_after_a_run_that_was_killed_between_two_files(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "b.safetensors", tmp_path / "out"
    shutil.copy(features_a, other)
    words = ("--features", str(features_a), "--features", str(other), "--format", "csv,vtt,html")
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, str(out), *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.split() == ["0", "-9", "-9", "-9", "-9"], ran.stderr
    for folder in sorted(out.glob("[0-9]")):
        page = folder / "index.html"
        assert "not scored yet" in page.read_text()
        for name in results_of(page):  # None that the killed run had not come to.
            assert read_score_file(folder / f"{Path(name).stem}.json").result.rule.threshold == 0.9
        answer = oddframe("score", *words, "--out", folder, "--threshold", "0.9")
        assert answer.code == 0
        assert ("scored before" in answer.out) == (int(folder.name) >= 5)
        assert "not scored yet" not in page.read_text()
        results = results_of(page)
        assert len(results) == 2
        for name, (events, link) in results.items():
            stem = Path(name).stem
            result = read_score_file(folder / f"{stem}.json").result
            assert result.rule.threshold == 0.9
            assert (events, link) == (len(result.events), f"{stem}.html")
            files = {path.name: path.read_bytes() for path in folder.glob(f"{stem}.*")}
            assert shown_by(folder, stem) == files


def test_the_highest_score_is_the_smoothed_one(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    words = ("--features", features_a, "--out", tmp_path / "out", "--format", "html")
    answer = oddframe("score", *words, "--threshold", "1", "--smooth", "5")
    result = read_score_file(tmp_path / "out" / "a.json").result
    highest = smooth_frame_scores(result.track, result.rule.smooth_s).max()
    assert f"{highest:.2f}" != f"{result.track.scores.max():.2f}"
    assert f"no events (highest score {highest:.2f})" in answer.out
    page = (tmp_path / "out" / "a.html").read_text(encoding="utf-8")
    assert f"Highest score {highest:.2f}, threshold" in page


def test_a_folder_of_reports_has_an_index_that_is_kept_up_to_date(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    other, bad = tmp_path / "index.safetensors", tmp_path / "bad.safetensors"
    shutil.copy(features_a, other)
    bad.write_text("torn")
    named = [word for path in (features_a, other, bad) for word in ("--features", path)]
    out = tmp_path / "out"
    assert oddframe("score", *named[:2], "--out", out, "--format", "html").code == 0
    assert not (out / "index.html").exists()  # There is one video alone.
    assert oddframe("score", *named, "--out", out, "--format", "html").code == 3
    assert "1 could not be scored" in (out / "index.html").read_text()
    assert f"<li>{bad}: " in (out / "index.html").read_text()
    before = results_of(out / "index.html")
    assert {name: link for name, (_, link) in before.items()} == {
        str(features_a): "a.html",
        str(other): "index-2.html",
    }
    assert oddframe("score", *named, "--out", out, "--format", "html", "--threshold", 1).code == 3
    after = results_of(out / "index.html")
    assert {events for events, _ in before.values()} != {0}
    assert {events for events, _ in after.values()} == {0}
    assert oddframe("score", *named, "--out", out).code == 3  # Reports of no events go.
    assert results_of(out / "index.html") == {name: (n, "") for name, (n, _) in before.items()}


def test_an_index_that_oddframe_did_not_write_is_kept(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "b.safetensors", tmp_path / "out"
    shutil.copy(features_a, other)
    out.mkdir()
    (out / "index.html").write_text("mine")
    words = ("--features", features_a, "--features", other, "--out", out, "--format", "html")
    answer = oddframe("score", *words)
    assert answer.code == 1
    assert answer.err.count("index.html: not written by oddframe") == 1
    assert (out / "index.html").read_text() == "mine"
    assert (out / "b.html").exists()


def test_a_changed_or_removed_file_is_written_again_without_scoring(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("score", "--features", features_a, "--out", out, "--format", "csv,vtt")
    assert oddframe(*words).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "a.csv").write_bytes(before["a.csv"][:100])
    (out / "a.vtt").unlink()
    again = oddframe(*words)
    assert "scored before" in again.out
    assert "a.csv was changed or damaged, written again" in again.out
    assert "a.vtt was missing, written again" in again.out
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert "written again" not in oddframe(*words).out
    added = oddframe(*words[:-1], "csv,vtt,html")
    assert "a.html added; scored before" in added.out


def test_a_changed_or_earlier_score_file_is_not_used(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("score", "--features", features_a, "--out", out, "--threshold", "0.01")
    assert oddframe(*words).code == 0
    path = out / "a.json"
    whole = path.read_bytes()
    data = json.loads(whole)
    assert data["events"]
    older = {key: value for key, value in data.items() if key not in ("files", "checksum")}
    for changed, expected in (
        (json.dumps({**data, "events": []}), "a.json was changed, scored again"),
        (json.dumps(older), "a.json was written by an earlier version, scored again"),
        (whole[:200].decode(), "a.json was damaged, written again"),
    ):
        path.write_text(changed)
        answer = oddframe(*words)
        assert expected in answer.out
        assert "scored before" not in answer.out
        assert path.read_bytes() == whole


def test_files_of_an_earlier_threshold_are_removed(
    oddframe: Run, features_a: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("score", "--features", features_a, "--out", out, "--format")
    assert oddframe(*words, "csv,vtt").code == 0
    answer = oddframe(*words, "csv", "--threshold", "0.01")
    assert "removed, of the earlier scores: a.vtt" in answer.out
    assert {path.name for path in out.iterdir()} == {"a.json", "a.csv"}


def test_threshold_0_finds_the_whole_clip_and_threshold_1_nothing(
    oddframe: Run, normal_clip: Path
) -> None:
    whole = json.loads(oddframe("score", normal_clip, "--threshold", "0", "--json").out)
    (event,) = whole["videos"][0]["events"]
    assert event["start_s"] == 0
    assert event["end_s"] == pytest.approx(60 / 29.97, abs=0.05)
    none = oddframe("score", normal_clip, "--threshold", "1")
    assert "no events" in none.out


def test_each_camera_has_its_own_threshold(
    oddframe: Run, normal_clip: Path, tmp_path: Path
) -> None:
    model, own = load_model("fight"), tmp_path / "own.safetensors"
    card = with_thresholds(model.card, "best", {"gate": 0.001})
    save_model(replace(model, card=card), own)
    features = Detector.load(own).features(normal_clip).features
    files = [tmp_path / camera / "a.safetensors" for camera in ("gate", "yard")]
    for file in files:
        write_features(file, features)
    videos = [word for file in files for word in ("--features", file)]
    words = ("score", *videos, "--model", own, "--out", tmp_path / "out")
    answer = oddframe(*words, "--format", "html")
    gate, yard = answer.out.splitlines()
    assert "1 event" in gate
    assert "[threshold 0.001, of camera gate]" in gate
    assert "no events" in yard
    assert "threshold" not in yard
    common = model.profiles["best"].rule.threshold
    for camera, threshold in (("gate", 0.001), ("yard", common)):
        data = json.loads((tmp_path / "out" / f"{camera}_a.json").read_text())
        assert data["threshold"] == threshold
        page = (tmp_path / "out" / f"{camera}_a.html").read_text()
        assert f"reaches {threshold:.3g}, ends below" in page
    again = oddframe(*words)
    assert again.out.count("scored before") == 2
    assert "scored before; threshold 0.001, of camera gate" in again.out
    data = json.loads(oddframe(*words, "--threshold", "0.5", "--json").out)
    assert [video["threshold"] for video in data["videos"]] == [0.5, 0.5]


def cues(path: Path) -> list[tuple[str, ...]]:
    lines = [line for line in path.read_text().splitlines() if "-->" in line]
    return [tuple(line.split(" --> ")) for line in lines]


def test_a_gap_is_reported_once_and_not_scored(
    oddframe: Run, clip_frames: list[Image], tmp_path: Path
) -> None:
    times = np.arange(50) / 25 + np.repeat([0.0, 40_000.0], [30, 20])
    path = encode(tmp_path / "cam.mkv", clip_frames, times=times)
    answer = oddframe("score", path, "--threshold", "0", "--out", tmp_path / "out", *ALL_FORMATS)
    assert answer.code == 0
    assert (
        answer.out.count("its time stamps jump by 11:06:40 at 0:00:01; no scores in between") == 1
    )
    assert "cam.mkv (11:06:42 h): 2 events" in answer.out
    again = oddframe("score", path, "--threshold", "0", "--out", tmp_path / "out")
    assert "[its time stamps jump by 11:06:40 at 0:00:01; no scores in between; scored before]" in (
        again.out
    )
    data = json.loads((tmp_path / "out" / "cam.json").read_text())
    assert data["gaps"] == [[pytest.approx(1.2), pytest.approx(40_001.2)]]
    np.testing.assert_allclose(data["frame_times"], times, atol=1e-3)
    np.testing.assert_allclose(data["snippet_times"], [[0, 0.64], [0.64, 1.2], *_AFTER], atol=1e-3)
    assert cues(tmp_path / "out" / "cam.vtt") == [
        ("00:00:00.000", "00:00:01.200"),
        ("11:06:41.200", "11:06:42.000"),
    ]
    with av.open(str(tmp_path / "out" / "cam.annotated.mp4")) as container:
        shown = [float(frame.time) for frame in container.decode(video=0)]
    assert set(np.round(times, 2)) <= set(np.round(shown, 2))


_AFTER = [[40_001.2, 40_001.84], [40_001.84, 40_002.0]]
ALL_FORMATS = ("--format", "json,csv,vtt,png,html,mp4")


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "pcm_s16le"), (".mp4", "aac")])
def test_times_are_those_of_a_player_where_sound_starts_before_the_picture(
    oddframe: Run, clip_frames: list[Image], tmp_path: Path, suffix: str, codec: str
) -> None:
    path = tmp_path / f"cam{suffix}"
    with_sound(path, clip_frames, [tone(4.5)], picture_at_s=2.5, codec=codec)
    answer = oddframe("score", path, "--threshold", "0", "--out", tmp_path / "out", *ALL_FORMATS)
    assert answer.code == 0
    assert "1 event: 0:02.5-0:04.5" in answer.out
    out = tmp_path / "out"
    data = json.loads((out / "cam.json").read_text())
    assert (data["start_s"], data["duration_s"]) == (2.5, pytest.approx(2.0))
    assert "frame_times" not in data
    assert data["damaged_packets"] == 0
    assert cues(out / "cam.vtt") == [("00:00:02.500", "00:00:04.500")]
    with (out / "cam.csv").open() as file:
        assert [float(row["time_s"]) for row in csv.DictReader(file)][:2] == [2.5, 2.54]
    page = (out / "cam.html").read_text()
    assert 'data-start="2.5"' in page
    (embedded,) = re.findall(r"data:video/\w+;base64,([^\"]+)", page)
    (tmp_path / "page.mp4").write_bytes(base64.b64decode(embedded))
    for video in (out / "cam.annotated.mp4", tmp_path / "page.mp4"):
        with av.open(str(video)) as container:
            times = [float(frame.time) for frame in container.decode(video=0)]
        np.testing.assert_allclose(times, [0.0, *(2.5 + np.arange(50) / 25)], atol=1e-3)


@pytest.mark.parametrize("kind", BAD_VIDEOS)
def test_a_bad_file_is_one_line_and_does_not_stop_the_others(
    oddframe: Run, bad_video: Callable[[str], Path], normal_clip: Path, tmp_path: Path, kind: str
) -> None:
    bad, out = bad_video(kind), tmp_path / "out"
    answer = oddframe("score", bad, normal_clip, "--out", out)
    assert answer.code == 3
    (line,) = [text for text in answer.err.splitlines() if text.startswith("FAILED")]
    assert str(bad) in line
    assert "Traceback" not in answer.err
    assert str(normal_clip) in answer.out
    assert sorted(p.name for p in out.iterdir()) == ["nofi079.json"]


@pytest.mark.parametrize("kind", ODD_VIDEOS)
def test_unusual_files_are_scored_as_far_as_possible(
    oddframe: Run, bad_video: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    answer = oddframe("score", bad_video(kind), "--out", tmp_path / "out")
    assert answer.code == 0
    (file,) = (tmp_path / "out").iterdir()
    data = json.loads(file.read_text())
    expected = {"one_frame": 1, "fifteen_frames": 15}.get(kind)
    assert data["frames"] == expected if expected else data["frames"] > 10
    assert len(data["snippet_scores"]) >= 1
    assert (data["mended_frames"] > 0) == ("mended by the decoder" in answer.out)
    assert (data["damaged_packets"] > 0) == kind.startswith("cut")
    assert data["mended_frames"] > 0 or kind != "bit_flips"


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", 'it\'s "odd".mp4', "Überfall 日本.mp4", "-rf.mp4", "[1]*.mp4", "a\nb.mp4"],
)
def test_names_with_special_characters(
    oddframe: Run, normal_clip: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(normal_clip, name)
    answer = oddframe("score", "--out", "out", "--", name)
    assert answer.code == 0
    assert len(answer.out.splitlines()) == 1
    assert len(list(Path("out").glob("*.json"))) == 1


def test_colliding_names_become_unique(oddframe: Run, normal_clip: Path, tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        (tmp_path / camera).mkdir()
        shutil.copy(normal_clip, tmp_path / camera / "a.mp4")
    assert oddframe("score", tmp_path, "--out", tmp_path / "out").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cam1_a.json", "cam2_a.json"]


def test_replacing_the_scores_of_another_video_is_reported(oddframe: Run, tmp_path: Path) -> None:
    spec, rng = Detector.load("fight").spec, np.random.default_rng(0)
    array = rng.normal(size=(1, 4, spec.dim)).astype(np.float32)
    for camera, expected in (("cam1", False), ("cam2", True), ("cam2", False)):
        file = tmp_path / camera / "a.safetensors"
        write_features(file, Features(array, spec, spec.timebase(25.0, 64)))
        answer = oddframe("score", "--features", file, "--out", tmp_path / "out", "--fresh")
        assert answer.code == 0
        assert (f"replaces the scores of {tmp_path / 'cam1'}" in answer.out) == expected


def test_features_of_several_backbones_are_scored_from_where_they_are_kept(
    oddframe: Run, clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    spec = make_spec("efficientnet_lite0+aisfx")
    model = tmp_path / "both.safetensors"
    save_model(made_model(spec=spec), model)
    store, out = tmp_path / "store", tmp_path / "out"
    words = ("--model", model, "--precision", "float32")
    kept = ("--store", store, "--out", out, "--format", "safetensors")
    assert oddframe("extract", clip, normal_clip, *words, *kept).code == 0
    videos = json.loads(oddframe("score", clip, normal_clip, *words, "--json").out)["videos"]
    truth = sorted(video["snippet_scores"] for video in videos)
    for folder, pattern in ((store, "??/*.safetensors"), (out, "*.safetensors")):
        files = sorted(folder.glob(pattern))
        assert len(files) == 4  # Two a video; each video is scored once.
        named = [word for file in files for word in ("--features", file)]
        answer = oddframe("score", *named, *words[:2], "--json")
        assert answer.code == 0
        scores = sorted(v["snippet_scores"] for v in json.loads(answer.out)["videos"])
        assert len(scores) == 2
        for ours, theirs in zip(scores, truth, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-6)
        files[0].unlink()
        broken = oddframe("score", *named[2:], *words[:2])
        assert (broken.code, broken.err.count("FAILED")) == (3, 1)
        assert "make them with oddframe extract --model" in broken.err


def test_no_input_is_overwritten(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    for name in ("x.mp4", "x.annotated.mp4"):
        shutil.copy(clip, tmp_path / name)
    answer = oddframe("score", tmp_path, "--out", tmp_path, "--format", "mp4")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{tmp_path / 'x.annotated.mp4'}: to be scored" in answer.err
    assert (tmp_path / "x.annotated.mp4").read_bytes() == clip.read_bytes()


def test_videos_that_oddframe_wrote_are_left_out(
    oddframe: Run, clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    for source, name in ((clip, "x.mp4"), (normal_clip, "not annotated.mp4")):
        shutil.copy(source, tmp_path / name)
    words = ("score", tmp_path, "--out", tmp_path, "--format", "mp4")
    first = oddframe(*words)
    assert (first.code, "left out" in first.err) == (0, False)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again = oddframe(*words)
    assert (again.code, again.out.count("scored before")) == (0, 2)
    own = tmp_path / "not annotated.annotated.mp4"
    assert f"left out: {own} and 1 more: written by oddframe itself\n" in again.err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    shutil.copy(clip, tmp_path / "mine.annotated.mp4")  # Such a name alone is no sign.
    third = oddframe("score", str(tmp_path / "*.mp4"), "--out", tmp_path / "other")
    assert third.code == 0
    assert {path.name for path in (tmp_path / "other").iterdir()} == {
        "x.json", "not annotated.json", "mine.annotated.json"
    }  # fmt: skip
    alone = oddframe("score", own)
    assert (alone.code, alone.err.count("\n")) == (3, 1)
    assert "written by oddframe itself; name the videos" in alone.err
    kept = ("--store", tmp_path / "store", "--backbone", "efficientnet_lite0")
    assert oddframe("extract", tmp_path / "x*.mp4", *kept).out.startswith("1 extracted")


def test_no_curve_is_written_into_a_folder_of_frames(oddframe: Run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((64, 64, 3), np.uint8))
    answer = oddframe("score", tmp_path, "--out", tmp_path, "--format", "png")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "a folder of frames, and the curve would be one" in answer.err


def test_a_name_that_reads_as_an_option(
    oddframe: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("-cam.mp4").write_text("no video")
    answer = oddframe("score", "-cam.mp4")
    assert (answer.code, "as ./-cam.mp4 it is no option" in answer.err) == (2, True)
    assert "not a video" in oddframe("score", "./-cam.mp4").err


def test_pictures_named_one_by_one_are_single_pictures(oddframe: Run, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("no picture")
    assert "2 single pictures: name their folder" in oddframe("score", tmp_path / "*.png").err
    assert damage_notes(0, 0, tmp_path) == []
    assert damage_notes(1, 1, tmp_path) == [
        "1 damaged picture skipped",
        "1 damaged frame mended by the decoder",
    ]
    assert damage_notes(2, 2, tmp_path / "cam.mp4") == [
        "2 damaged packets skipped",
        "2 damaged frames mended by the decoder",
    ]


def test_a_folder_of_frames_scores_like_the_video(
    oddframe: Run, clip_frames: list[np.ndarray], clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, image in enumerate(clip_frames):
        cv2.imwrite(str(folder / f"{i}.png"), image[:, :, ::-1])
    answer = oddframe("score", folder, clip, "--json", "--fps", "25")
    frames, video = json.loads(answer.out)["videos"]
    assert frames["frames"] == 50
    np.testing.assert_allclose(frames["snippet_scores"], video["snippet_scores"], atol=0.05)


def test_features_instead_of_a_video(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    detector = Detector.load("fight")
    file = tmp_path / "clip.safetensors"
    write_features(file, detector.features(clip).features)
    answer = oddframe("score", "--features", file, "--json")
    assert answer.code == 0
    (scored,) = json.loads(answer.out)["videos"]
    np.testing.assert_allclose(scored["snippet_scores"], detector.score(clip).scores, atol=1e-6)


def test_a_mask_changes_the_scores(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    mask = np.full((240, 352), 255, np.uint8)
    mask[:, :176] = 0
    cv2.imwrite(str(tmp_path / "zones.png"), mask)
    plain = json.loads(oddframe("score", clip, "--json").out)["videos"][0]["snippet_scores"]
    answer = oddframe("score", clip, "--json", "--mask", tmp_path / "zones.png")
    masked = json.loads(answer.out)["videos"][0]["snippet_scores"]
    assert np.abs(np.subtract(plain, masked)).max() > 1e-4
    black = tmp_path / "black.png"
    cv2.imwrite(str(black), np.zeros((10, 10), np.uint8))
    assert oddframe("score", clip, "--mask", black).code == 3


def test_views_and_profiles_are_scored(oddframe: Run, normal_clip: Path) -> None:
    for words in (("--model", "fight_urdmu", "--views", "5"), ("--profile", "fast")):
        answer = oddframe("score", normal_clip, "--json", *words)
        assert answer.code == 0
        scores = json.loads(answer.out)["videos"][0]["snippet_scores"]
        assert len(scores) >= 1
        assert ("set on 1 view, not 5" in answer.err) == ("5" in words)
    refused = oddframe("score", normal_clip, "--views", "5")
    assert (refused.code, "the crop motion has no views" in refused.err) == (2, True)


@pytest.mark.slow
def test_two_jobs_give_what_one_gives(
    oddframe: Run, clip: Path, normal_clip: Path, bad_video: Callable[[str], Path]
) -> None:
    paths = (clip, normal_clip, bad_video("text"))
    alone = json.loads(oddframe("score", *paths, "--json").out)
    beside = oddframe("score", *paths, "--json", "--jobs", "2")
    assert beside.code == 3
    answer = json.loads(beside.out)
    scores = {video["video"]: video["snippet_scores"] for video in answer["videos"]}
    for video in alone["videos"]:
        np.testing.assert_allclose(scores[video["video"]], video["snippet_scores"], atol=1e-4)
    assert len(answer["failed"]) == 1
    jsonschema.validate(answer, schema_of("score_answer"))


class Mortal(scoring._Scorer):
    """Scores in a process that one of the videos ends."""

    def __call__(self, job: ScoringJob, heartbeat: Heartbeat) -> ScoringOutcome:
        if job.path.name == "deadly.mp4":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(job, heartbeat)


@pytest.mark.slow
def test_a_video_that_ends_its_process_does_not_stop_the_others(
    oddframe: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a.mp4", "deadly.mp4", "b.mp4", "c.mp4")
    paths = [tmp_path / name for name in names]
    for path in paths:
        shutil.copy(clip, path)
    monkeypatch.setattr(scoring, "_Scorer", Mortal)
    answer = oddframe("score", *paths, "--jobs", "2", "--json")
    data = json.loads(answer.out)
    scored = sorted(Path(video["video"]).name for video in data["videos"])
    assert scored == ["a.mp4", "b.mp4", "c.mp4"]
    assert len(data["failed"]) == 1
    assert "deadly.mp4: the process that read it was ended by SIGKILL: out of memory?" in answer.err
    assert answer.code == 3


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks for children in /proc")
def test_ctrl_c_ends_all_processes_without_a_traceback(clip: Path, normal_clip: Path) -> None:
    command = [sys.executable, "-m", "oddframe", "score", clip, normal_clip, "--jobs", "2"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, start_new_session=True)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    while run.poll() is None and len(children.read_text().split()) < 3:  # One is multiprocessing's.
        time.sleep(0.05)
    started = [Path("/proc", child) for child in children.read_text().split()]
    os.killpg(run.pid, signal.SIGINT)
    errors = run.communicate()[1].decode()
    assert run.returncode == 130
    assert "Traceback" not in errors
    assert errors.endswith("stopped; what was finished is kept\n")
    assert len(started) == 3
    assert not any((process / "exe").exists() for process in started)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("score",), "nothing to score"),
        (("score", "x.mp4", "--views", "3"), "--views 3: choose 1, 5 or 10"),
        (("score", "x.mp4", "--format", "gif"), "--format gif: choose from json,csv"),
        (("score", "x.mp4", "--model", "no_such"), "no such model"),
        (("score", "x.mp4", "--threshold", "7"), "--threshold"),
        (("score", "x.mp4", "--nonsense"), "--nonsense"),
        (("scroe",), "scroe"),
    ],
)
def test_a_wrong_call_exits_with_2(oddframe: Run, words: tuple[str, ...], line: str) -> None:
    answer = oddframe(*words)
    assert answer.code == 2
    assert line in answer.err
    assert "Traceback" not in answer.err


def test_a_broken_model_file_is_refused_before_anything_is_scored(
    oddframe: Run, clip: Path, tmp_path: Path
) -> None:
    import torch

    from oddframe.modelfile import find_model

    whole = find_model("fight").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save({"weight": torch.zeros(2)}, tmp_path / "pickle.safetensors")
    for name, reason in (("cut", "truncated"), ("pickle", "never unpickles")):
        model = tmp_path / f"{name}.safetensors"
        answer = oddframe("score", clip, "--model", model, "--out", tmp_path / "out")
        assert answer.code == 3
        assert reason in answer.err
        assert len(answer.err.splitlines()) == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        (
            {"weights_sha256": "ab" * 32},
            3,
            "other weights of i3d than the installed ones (sha256 abababab",
        ),
        ({"backbone": "i4d"}, 2, "did you mean i3d?"),
        ({"backbone": "array"}, 2, "with --features"),
    ],
)
def test_a_model_that_cannot_score_videos_here_is_refused_once(
    oddframe: Run, tmp_path: Path, changed: dict[str, str], code: int, says: str
) -> None:
    model = load_model("fight")
    profiles = {
        name: replace(profile, spec=replace(profile.spec, **changed))
        for name, profile in model.profiles.items()
    }
    save_model(replace(model, profiles=profiles), tmp_path / "m.safetensors")
    words = ("--model", tmp_path / "m.safetensors", "--out", tmp_path / "out")
    answer = oddframe("score", "x.mp4", "y.mp4", *words)
    assert (answer.code, answer.err.count("\n")) == (code, 1)
    assert says in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    answer = oddframe("score", clip, "--out", locked)
    assert answer.code == 1
    assert "no permission" in answer.err


def test_an_out_that_is_a_file(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    answer = oddframe("score", clip, "--out", tmp_path / "out")
    assert answer.code == 1
    assert "cannot be made" in answer.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    oddframe: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    answer = oddframe("score", clip, "--out", tmp_path / "out", "--format", "csv")
    assert answer.code == 1
    assert "out/fi150.csv: cannot be written (no space left on device)" in answer.err
    assert "Traceback" not in answer.err
    assert list((tmp_path / "out").iterdir()) == []


def test_actions_are_looked_for_by_name(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    words = ("score", clip, "--look-for", "punching person (boxing), wrestling", "--out", tmp_path)
    answer = oddframe(*words, "--format", "html")
    assert answer.code == 0, answer.err
    assert "perhaps punching person (boxing)" in answer.out
    assert "a hint; nothing was trained" in answer.err
    data = json.loads((tmp_path / "fi150.json").read_text())
    jsonschema.validate(data, schema_of("score_file"))
    assert data["events"][0]["actions"][0]["name"] == "punching person (boxing)"
    assert "not on these cameras" in (tmp_path / "fi150.html").read_text()
    assert "scored before" in oddframe(*words, "--format", "html").out
    other = oddframe("score", clip, "--look-for", "wrestling", "--out", tmp_path)
    assert "scored before" not in other.out
    for wrong in (["--look-for", "wresting"], ["--look-for", "wrestling", "--model", "mine"]):
        assert oddframe("score", clip, *wrong).code == 2


def test_an_event_names_the_training_clip_that_it_looks_like(
    oddframe: Run, clip: Path, tmp_path: Path
) -> None:
    words = ("score", clip, "--out", tmp_path, "--format", "html")
    assert "like fi150 (0:01, fight)" in oddframe(*words).out
    data = json.loads((tmp_path / "fi150.json").read_text())
    jsonschema.validate(data, schema_of("score_file"))
    assert len(data["events"][0]["similar"]) == 3
    page = (tmp_path / "fi150.html").read_text()
    (tmp_path / "fi150.html").unlink()
    oddframe(*words)  # The page is written from the score file, which has no pictures.
    assert (tmp_path / "fi150.html").read_text() == page
