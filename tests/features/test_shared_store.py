"""Several processes use one store: none loses data because of another one's work, or its death."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from oddframe import scoring_job
from oddframe._utils.locks import wait_for_lock
from oddframe._utils.worker_pool import Heartbeat, WorkerPool
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.events import RuleChanges
from oddframe.features.extraction import worker as extraction
from oddframe.features.extraction.extract_video import backbone_spec, extract_video, spec_templates
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.spec import Features
from oddframe.features.store.manifest import (
    MANIFEST_NAME,
    ManifestEntry,
    append_entries,
    read_entries,
)
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.scoring_job import ScoringJob, ScoringSettings, load_detector, score_input
from oddframe.video.decoding.isolated import open_source
from oddframe.video.mask import Masks
from tests.backbones.test_onnx import write
from tests.conftest import ROOT, Image, encode

KILLS = 3


def files_of(store: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in store.glob("??/*.safetensors")}


def rows_done(store: Path) -> int:
    done = 0
    for path in store.glob("unfinished/*/done.json"):
        try:
            done += json.loads(path.read_text())["rows"]
        except FileNotFoundError:  # Finished in the meantime.
            continue
    return done


def kill(run: subprocess.Popen[bytes], *, with_workers: bool) -> None:
    """Kill a run, with its workers or alone, as the system does when memory is short."""
    with suppress(ProcessLookupError):  # It had ended already.
        if with_workers:
            os.killpg(run.pid, signal.SIGKILL)
        else:
            run.kill()
    run.wait()


@pytest.mark.slow
def test_four_extractions_into_one_store_survive_kills(
    clip_frames: list[Image], tmp_path: Path
) -> None:
    small = [cv2.resize(frame, (64, 48)) for frame in clip_frames]
    (tmp_path / "videos").mkdir()
    for number in range(3):
        encode(tmp_path / "videos" / f"{number}.mp4", small * (60 + number))
    tiny = write(tmp_path, "NCTHW")
    backbone = load_backbone(str(tiny))
    spec = backbone_spec(backbone, replace(get_backbones(str(tiny))[0].preprocessing, stride=1))
    for video in (tmp_path / "videos").iterdir():
        made = extract_video(open_source(video), spec, backbone).features
        FeatureStore(tmp_path / "alone").put(content_hash(video), made)
    alone = files_of(tmp_path / "alone")
    assert len(alone) == 3

    command = [sys.executable, "-m", "oddframe", "extract", str(tmp_path / "videos")]
    command += ["--backbone", str(tiny), "--stride", "1", "--store"]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    store, rng, errors = tmp_path / "store", random.Random(0), tmp_path / "errors"

    def start() -> subprocess.Popen[bytes]:
        with errors.open("ab") as file:
            words = [*command, str(store)]
            return subprocess.Popen(words, env=env, start_new_session=True, stderr=file)

    runs = [start() for _ in range(4)]
    finished: set[str] = set()
    for number in range(KILLS):
        before = rows_done(store), len(finished)
        while (rows_done(store), len(finished)) == before and len(finished) < 3:
            assert any(run.poll() is None for run in runs), errors.read_text()
            time.sleep(0.005)
            present = files_of(store).keys()
            assert finished <= present, "finished features stay"
            finished |= present
        time.sleep(rng.uniform(0, 0.2))
        victim = rng.randrange(4)
        kill(runs[victim], with_workers=number % 2 == 0)
        runs[victim] = start()
    assert [run.wait() for run in runs] == [0] * 4, errors.read_text()
    assert files_of(store) == alone
    assert not list((store / "unfinished").iterdir())
    assert not list(store.rglob("*.part"))
    lines = (store / MANIFEST_NAME).read_text().splitlines()
    assert {json.loads(line)["video"] for line in lines} == {
        str(path) for path in (tmp_path / "videos").iterdir()
    }
    assert not any(entry.reason for entry in read_entries(store))


def test_a_video_that_another_process_extracts_is_busy(
    clip: Path, normal_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny, store = write(tmp_path, "NCTHW"), FeatureStore(tmp_path / "store")
    (spec,) = get_backbones(str(tiny))
    request = extraction.ExtractionRequest(
        spec_templates(str(tiny), spec.preprocessing), "cpu", "auto", "float32", store.root
    )
    pool: WorkerPool[extraction.VideoJob, extraction.ExtractionResult] = WorkerPool(
        partial(extraction.ExtractionWorker, request, 10**9), 1, 600, keep=True
    )

    def made(path: Path) -> extraction.ExtractionResult:
        (answer,) = [a for a in pool.run([extraction.VideoJob(path, path.stem)]) if a is not None]
        assert isinstance(answer[1], extraction.ExtractionResult)
        return answer[1]

    worker = extraction.ExtractionWorker(request, 10**9)
    monkeypatch.setattr(extraction, "limit_memory", lambda _: None)
    worker._load_backbones()
    other = worker._partial(clip, extraction.hash_video(clip), 0, lambda *_: None)
    assert other.acquire()
    try:
        other.add(np.zeros((other._chunk, 1, 3), np.float32))
        assert made(clip).busy
        assert other.count_rows(1, 3) == other._chunk, "the other process's features stay"
        assert made(normal_clip).new == 1, "other videos are extracted meanwhile"
        other.discard()
        other.release()
        assert made(clip).new == 1
        assert made(clip).new == 0
    finally:
        pool.end()


class SlowStore(FeatureStore):
    """A store on a disk that takes longer than the pool waits for a heartbeat."""

    heartbeats = threading.Semaphore(0)

    def put(self, content_sha256: str, features: Features) -> Path:
        """Wait for two more heartbeats, then write."""
        while self.heartbeats.acquire(blocking=False):
            pass
        if not all(self.heartbeats.acquire(timeout=60) for _ in range(2)):
            raise RuntimeError("no heartbeat while features are written")
        return super().put(content_sha256, features)


class SlowWorker(extraction.ExtractionWorker):
    """Writes to a slow disk."""

    def __call__(
        self, video: extraction.VideoJob, heartbeat: Heartbeat
    ) -> extraction.ExtractionResult:
        self._store = SlowStore(self._store.root)

        def count(done: int, expected: int | None) -> None:
            SlowStore.heartbeats.release()
            heartbeat(done, expected)

        return super().__call__(video, count)


def test_heartbeats_are_sent_while_features_are_written(clip: Path, tmp_path: Path) -> None:
    tiny = write(tmp_path, "NCTHW")
    (spec,) = get_backbones(str(tiny))
    parts = spec_templates(str(tiny), spec.preprocessing)
    request = extraction.ExtractionRequest(parts, "cpu", "auto", "float32", tmp_path / "store")
    pool: WorkerPool[extraction.VideoJob, extraction.ExtractionResult] = WorkerPool(
        partial(SlowWorker, request, 10**9), 1, 600
    )
    (answer,) = [a for a in pool.run([extraction.VideoJob(clip, "x")]) if a is not None]
    made = answer[1]
    assert isinstance(made, extraction.ExtractionResult)
    assert made.entries[0].reason == ""
    assert made.new == 1


def test_one_process_at_a_time_appends_to_the_manifest(tmp_path: Path) -> None:
    append_entries(tmp_path, [ManifestEntry(video="first")])
    adding = threading.Thread(
        target=append_entries, args=(tmp_path, [ManifestEntry(video="second")])
    )
    with (tmp_path / MANIFEST_NAME).open("ab") as other:
        wait_for_lock(other.fileno())
        other.write(b'{"video": "a line that is ')
        other.flush()
        adding.start()
        adding.join(0.5)
        other.write(b'written in two parts"}\n')
    adding.join()
    videos = [entry.video for entry in read_entries(tmp_path)]
    assert videos == ["first", "a line that is written in two parts", "second"]


def test_scoring_does_not_use_the_partial_features_of_another_process(
    clip: Path, tmp_path: Path
) -> None:
    settings = ScoringSettings(
        model="fight",
        profile="fast",
        views=None,
        device="cpu",
        engine="auto",
        precision="auto",
        threshold=None,
        rule_changes=RuleChanges(),
        masks=Masks(),
        fps=None,
        out=tmp_path,
        formats=("json",),
        fresh=False,
        raise_errors=True,
    )
    job, detector = ScoringJob(clip, "fi150"), load_detector(settings)
    seen = scoring_job._short_hash(
        scoring_job._feature_inputs(job, (clip,), settings, detector, None)
    )
    other = PartialFeatures(tmp_path / f".{seen}.partial", chunk=2)
    assert other.acquire()
    other.add(np.zeros((2, 1, 1024), np.float32))
    assert score_input(job, settings, detector).result is not None
    assert other.count_rows(1, 1024) == 2
    other.discard()
    other.release()
    assert {path.name for path in tmp_path.iterdir()} == {"fi150.json"}
    again = replace(settings, fresh=True)
    assert score_input(job, again, detector).result is not None
    assert {path.name for path in tmp_path.iterdir()} == {"fi150.json"}
