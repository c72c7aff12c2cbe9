"""``oddframe extract``: what it writes and does not repeat; failures do not stop it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from oddframe._utils.worker_pool import Heartbeat
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.features.extraction import worker
from oddframe.features.extraction.extract_video import (
    backbone_spec,
    extract_tasks,
    extract_video,
    spec_templates,
)
from oddframe.features.formats.feature_file import read_features
from oddframe.features.store.manifest import ManifestEntry, read_entries
from oddframe.video.decoding.isolated import open_source
from tests.backbones.test_onnx import write
from tests.cli.conftest import Answer
from tests.conftest import ROOT, Image, encode

Run = Callable[..., Answer]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A backbone that is loaded at once: the mean of each colour."""
    folder = tmp_path / "weights"
    folder.mkdir()
    return write(folder, "NCTHW")


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (p for p in folder.rglob("*") if p.suffix in (".safetensors", ".npy"))
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}


def last_entries(folder: Path) -> dict[str, ManifestEntry]:
    return {entry.video: entry for entry in read_entries(folder)}


@pytest.mark.slow
def test_a_folder_of_good_and_bad_videos(
    oddframe: Run, bad_video: Callable[[str], Path], clip: Path, tiny: Path, tmp_path: Path
) -> None:
    good = bad_video("fifteen_frames").parent
    for kind in ("text", "empty", "no_moov", "no_pictures", "cut_mp4"):
        bad_video(kind)
    for count, name in enumerate(("a/x.mp4", "b/x.mp4", "b/new\nline.mp4")):
        (good / name).parent.mkdir(exist_ok=True)
        # An empty box at the end: another content, the same video.
        (good / name).write_bytes(clip.read_bytes() + b"\0\0\0\x08free" * count)
    (good / "list.mp4").write_text("#EXTM3U\n" + "#EXTINF:1,\nhttp://10.0.0.1/a.ts\n" * 100_000)
    os.mkfifo(good / "pipe.mp4")
    store, out = tmp_path / "store", tmp_path / "out"
    arguments = ("extract", good, "--backbone", tiny, "--store", store, "--out", out, "--jobs", 2)
    answer = oddframe(*arguments)
    assert answer.code == 3
    assert "5 extracted, 0 were there, 6 failed" in answer.out
    entries = last_entries(store)
    reasons = {Path(v).name: e.reason for v, e in entries.items() if e.reason}
    assert reasons.keys() == {
        "text.mp4", "empty.mp4", "no_moov.mp4", "no_pictures.mp4", "list.mp4", "pipe.mp4"
    }  # fmt: skip
    assert "playlist" in reasons["list.mp4"]
    assert "neither a file nor a folder" in reasons["pipe.mp4"]
    assert "new\\nline.mp4" in answer.err
    extracted = {Path(v): e for v, e in entries.items() if not e.reason}
    for video, entry in extracted.items():
        features = read_features(store / entry.file)
        assert (entry.frames, entry.snippets) == (
            features.timebase.n_frames,
            features.timebase.n_snippets,
        ), video
    assert {p.name for p in out.glob("*.npy")} == {
        "fifteen_frames__0.npy", "cut_mp4__0.npy", "a_x__0.npy", "b_x__0.npy", "new_line__0.npy"
    }  # fmt: skip
    cut = next(e for v, e in extracted.items() if v.stem == "cut_mp4")
    assert cut.damaged_packets > 0
    backbone, (kind,) = load_backbone(str(tiny)), get_backbones(str(tiny))
    plain = extract_video(open_source(clip), backbone_spec(backbone, kind.preprocessing), backbone)
    np.testing.assert_array_equal(np.load(out / "a_x__0.npy"), plain.features.array[0])

    before, lines = files_of(tmp_path), (store / "manifest.jsonl").read_text()
    again = oddframe(*arguments)
    assert "0 extracted, 5 were there, 6 failed" in again.out
    assert files_of(tmp_path) == before
    assert (store / "manifest.jsonl").read_text() == lines
    (out / "b_x__0.npy").unlink()
    cut, flipped, *_ = sorted(store.glob("??/*.safetensors"))
    cut.write_bytes(b"damaged")
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x7f")
    assert "2 extracted, 3 were there, 6 failed" in oddframe(*arguments).out
    assert files_of(tmp_path) == before


class Hanging(worker.ExtractionWorker):
    """Hangs on one of the videos."""

    def __call__(self, video: worker.VideoJob, heartbeat: Heartbeat) -> worker.ExtractionResult:
        while video.path.name == "endless.mp4":
            time.sleep(1)
        return super().__call__(video, heartbeat)


@pytest.mark.slow
def test_a_decoder_that_hangs_fails_only_its_video(
    oddframe: Run, clip: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / name for name in ("a.mp4", "endless.mp4", "b.mp4")]
    for path in paths:
        shutil.copy(clip, path)
    monkeypatch.setattr("oddframe.features.extract.ExtractionWorker", Hanging)
    store = tmp_path / "store"
    answer = oddframe("extract", *paths, "--backbone", tiny, "--store", store, "--patience", 20)
    assert (answer.code, answer.err.count("FAILED")) == (3, 1)
    reasons = {Path(video).name: entry.reason for video, entry in last_entries(store).items()}
    assert reasons.pop("endless.mp4").startswith("no progress for 20 s, so it was stopped")
    assert reasons == {"a.mp4": "", "b.mp4": ""}


def rows_done(store: Path) -> int:
    """Snippets of a video whose extraction is not finished that are kept in the store."""
    return sum(json.loads(p.read_text())["rows"] for p in store.glob("unfinished/*/done.json"))


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(
    clip_frames: list[Image], tiny: Path, tmp_path: Path
) -> None:
    small = [cv2.resize(frame, (64, 48)) for frame in clip_frames]
    video = encode(tmp_path / "long.mp4", small * 80)
    command = [sys.executable, "-m", "oddframe", "extract", str(video), "--backbone", str(tiny)]
    command += ["--stride", "1", "--store"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([*command, str(tmp_path / "whole")], env=env, check=True)

    store, kills = tmp_path / "killed", 0
    for rows in (1, 1300):
        run = subprocess.Popen([*command, str(store)], env=env)
        while run.poll() is None and rows_done(store) < rows:
            time.sleep(0.01)
        kills += run.poll() is None
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert kills == 2
    subprocess.run([*command, str(store)], env=env, check=True)
    assert files_of(store) == files_of(tmp_path / "whole")
    assert len(files_of(store)) == 1
    assert last_entries(store)[str(video)].snippets == 80 * 50 - 15


@pytest.mark.slow
def test_the_same_video_gives_the_same_bytes(
    oddframe: Run, clip: Path, normal_clip: Path, tmp_path: Path
) -> None:
    for name, jobs in (("alone", 1), ("together", 2)):
        arguments = ("--store", tmp_path / name, "--jobs", jobs, "--precision", "float32")
        assert oddframe("extract", clip, normal_clip, *arguments).code == 0
    alone = files_of(tmp_path / "alone")
    assert len(alone) == 2
    assert files_of(tmp_path / "together") == alone


def test_audio_features_are_separate_files_as_published(
    oddframe: Run, clip: Path, normal_clip: Path, tiny: Path, tmp_path: Path
) -> None:
    out, store = tmp_path / "out", tmp_path / "store"
    arguments = (
        "--backbone",
        f"{tiny}+aisfx",
        "--store",
        store,
        "--out",
        out,
        "--views",
        5,
        "--json",
    )
    answer = oddframe("extract", clip, normal_clip, *arguments)
    assert answer.code == 0
    videos = json.loads(answer.out)["videos"]
    assert [(Path(v["video"]).stem, v["backbone"]) for v in videos] == [
        ("fi150", "tiny"), ("fi150", "aisfx"), ("nofi079", "tiny"), ("nofi079", "aisfx")
    ]  # fmt: skip
    assert videos[3]["notes"] == ["no sound: silence in its place"]
    picture = [np.load(out / f"fi150__{crop}.npy") for crop in range(5)]
    sound = np.load(out / "fi150__aisfx.npy")
    assert {array.shape for array in picture} == {(6, 3)}
    assert len(sound) == 6


def test_mended_frames_are_reported(
    oddframe: Run, bad_video: Callable[[str], Path], tiny: Path, tmp_path: Path
) -> None:
    store, video = tmp_path / "store", bad_video("bit_flips")
    answer = oddframe("extract", video, "--backbone", tiny, "--store", store)
    assert answer.code == 0
    entry = last_entries(store)[str(video)]
    assert (entry.frames, entry.damaged_packets) == (250, 0)
    assert f"[{entry.mended_frames} damaged frames mended by the decoder]" in answer.err
    # What is kept has the same damage, under any name.
    moved = video.rename(tmp_path / "moved.mp4")
    arguments = ("--backbone", f"{tiny}+aisfx", "--store", store, "--json")
    for _ in range(2):
        told = json.loads(oddframe("extract", moved, *arguments).out)["videos"]
        assert [each["mended_frames"] for each in told] == [entry.mended_frames] * 2
    assert last_entries(store)[str(moved)].mended_frames == entry.mended_frames


def test_no_files_of_another_video_are_replaced(
    oddframe: Run, bad_video: Callable[[str], Path], tiny: Path, tmp_path: Path
) -> None:
    one, two = (tmp_path / camera / "a.mp4" for camera in ("cam1", "cam2"))
    for video, kind in ((one, "fifteen_frames"), (two, "one_frame")):
        video.parent.mkdir()
        shutil.copy(bad_video(kind), video)
    store, out = tmp_path / "store", tmp_path / "out"
    arguments = ("--backbone", tiny, "--store", store, "--out", out)
    assert oddframe("extract", one, *arguments).code == 0
    before = files_of(out)
    for more in ((), ("--fresh",)):
        answer = oddframe("extract", two, *arguments, *more)
        assert (answer.code, answer.err.count("FAILED")) == (3, 1)
        assert f"{out}: a__0.npy belongs to another video, {one}: choose" in answer.err
        assert files_of(out) == before

    # Together they have names of their own; moved, a video is still the same one.
    assert oddframe("extract", one, two, *arguments).code == 0
    moved = one.rename(tmp_path / "a.mp4")
    assert oddframe("extract", moved, *arguments).code == 0
    whole = files_of(out)
    assert whole.keys() == {"a__0.npy", "cam1_a__0.npy", "cam2_a__0.npy"}
    assert before.items() <= whole.items()

    alone = Path(shutil.copy(moved, tmp_path / "alone.mp4"))
    assert oddframe("extract", alone, *arguments).code == 0
    shutil.copy(two, alone)  # Of the same name, by now another.
    refused = oddframe("extract", alone, *arguments)
    assert f"alone__0.npy belongs to an earlier {alone}: choose" in refused.err
    (out / "alone__0.npy").unlink()
    assert oddframe("extract", alone, *arguments).code == 0
    assert files_of(out)["alone__0.npy"] == whole["cam2_a__0.npy"]


def test_no_files_of_unknown_origin_are_replaced(
    oddframe: Run, clip: Path, tiny: Path, tmp_path: Path
) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    arguments = ("extract", clip, "--backbone", tiny, "--store", store, "--out", out, "--views", 5)
    assert oddframe(*arguments).code == 0
    whole = files_of(out)
    # A run that was killed between a file and its line in the manifest.
    (out / "manifest.jsonl").unlink()
    (out / "fi150__4.npy").unlink()
    assert oddframe(*arguments).code == 0
    assert files_of(out) == whole
    assert [entry.file for entry in read_entries(out)] == ["fi150__0.npy"]
    # Somebody's published features.
    (out / "manifest.jsonl").unlink()
    np.save(out / "fi150__3.npy", np.ones((6, 3), np.float32))
    theirs = files_of(out)
    for more in ((), ("--fresh",)):
        answer = oddframe(*arguments, *more)
        assert (answer.code, answer.err.count("FAILED")) == (3, 1)
        assert f"{out}: fi150__3.npy exists and has other contents" in answer.err
        assert files_of(out) == theirs
    (out / "fi150__3.npy").unlink()
    assert oddframe(*arguments).code == 0
    assert files_of(out) == whole


def test_files_with_another_spec_are_replaced(
    oddframe: Run, clip: Path, tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("extract", clip, "--backbone", tiny, "--store", tmp_path / "store", "--out", out)
    result = []
    for stride in (16, 4, 16, 16):
        assert oddframe(*arguments, "--stride", stride).code == 0
        result.append(files_of(out))
    assert result[0] == result[2] == result[3] != result[1]


def test_the_preprocessing_can_be_changed(
    oddframe: Run, bad_video: Callable[[str], Path], tiny: Path, tmp_path: Path
) -> None:
    store, video = tmp_path / "store", bad_video("fifteen_frames")
    arguments = ("--backbone", tiny, "--store", store, "--jpeg-quality", 95, "--rate", 5)
    assert oddframe("extract", video, *arguments).code == 0
    (file,) = store.glob("??/*.safetensors")
    spec = read_features(file).spec
    assert (spec.jpeg_quality, spec.rate) == (95, 5)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")]
)
def test_every_kind_of_memory_error_gives_one_message(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def starved(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "hash_video", starved)
    templates = spec_templates(
        "efficientnet_lite0", get_backbones("efficientnet_lite0")[0].preprocessing
    )
    request = worker.ExtractionRequest(templates, "cpu", "torch", "float32", tmp_path / "store")
    result = worker.ExtractionWorker(request, 10**9)(worker.VideoJob(clip, "x"), lambda *_: None)
    assert result.exit_code == 3
    assert result.entries[0].reason == "it takes more than 1 GB (--memory allows more)"


def test_a_video_that_changes_while_it_is_read_fails(
    oddframe: Run, clip: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = Path(shutil.copy(clip, tmp_path / "live.mp4"))

    def grow(*given: Any, **more: Any) -> object:
        with video.open("ab") as file:
            file.write(b"\0\0\0\x08free")
        return extract_tasks(*given, **more)

    monkeypatch.setattr(worker, "extract_tasks", grow)
    monkeypatch.setattr(worker, "limit_memory", lambda _: None)
    (kind,) = get_backbones(str(tiny))
    store = tmp_path / "store"
    request = worker.ExtractionRequest(
        spec_templates(str(tiny), kind.preprocessing), "auto", "auto", "auto", store
    )
    result = worker.ExtractionWorker(request, 10**9)(
        worker.VideoJob(video, "live"), lambda *_: None
    )
    assert result.exit_code == 3
    assert result.entries[0].reason.startswith("it changed while it was read")
    assert not files_of(store)
    assert not list(store.rglob("unfinished/*"))
    arguments = ("--backbone", tiny, "--store", store)
    assert oddframe("extract", video, *arguments).out.startswith("1 extracted")


def test_features_that_a_model_reads(oddframe: Run, clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert oddframe("extract", clip, "--store", store, "--model", "fight").code == 0
    (file,) = store.glob("??/*.safetensors")
    answer = oddframe("score", "--features", file)
    assert (answer.code, answer.out.count("event")) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "fight", "--preset", "ucf-crime"], "leave out --backbone and --preset"),
        (["--backbone", "i3"], "did you mean i3d?"),
        (["--preset", "ucf"], "did you mean ucf-crime?"),
        (["--tiles", "2"], "rows x columns"),
        (["--tiles", "2x3", "--regions", "2x2"], "--tiles 2x3 and --regions 2x2: one of them"),
        (["--views", "3"], "choose 1, 5 or 10"),
        (["--crop-order", "extractor"], "five or ten crops"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    oddframe: Run, clip: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    answer = oddframe("extract", clip, "--store", tmp_path / "s", *arguments)
    assert answer.code == 2
    assert message in answer.err
    assert not (tmp_path / "s").exists()
