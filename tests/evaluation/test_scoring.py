"""Scoring many videos: order, threads, and stopping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.backbones.base import VisualEncoder
from oddframe.datasets.labelled import NORMAL, LabelledVideo
from oddframe.detector import Detector
from oddframe.evaluation.scoring import score_videos
from oddframe.features.store.store import FeatureStore
from tests.conftest import Image, encode


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("fight", profile="fast")


def video(path: Path) -> LabelledVideo:
    return LabelledVideo(path, False, NORMAL, "g")


def test_tracks_have_the_order_of_the_videos(
    detector: Detector,
    clip: Path,
    clip_frames: list[Image],
    bad_video: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    short = encode(tmp_path / "short.mp4", clip_frames[:16])
    videos = [video(path) for path in (clip, bad_video("text"), short, bad_video("empty"))]
    told: list[tuple[int, int]] = []
    store = FeatureStore(tmp_path / "store")
    scored, failed = score_videos(detector, videos, store, lambda *seen: told.append(seen), 4)
    assert [each.path for each, _ in scored] == [clip, short]
    assert ["text.mp4" in failed[0], "empty.mp4" in failed[1]] == [True, True]
    assert told == [(i, 4) for i in range(1, 5)]
    alone, _ = score_videos(detector, videos, FeatureStore(tmp_path / "other"))
    for (_, one), (_, other) in zip(scored, alone, strict=True):
        assert np.array_equal(one.scores, other.scores)


def test_scoring_does_not_wait_for_a_long_video_after_a_stop(
    detector: Detector, clip_frames: list[Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = encode(tmp_path / "short.mp4", clip_frames[:16])
    long = encode(tmp_path / "long.mp4", clip_frames * 24)
    backbone, seen = detector.backbone, []

    def see(snippets: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append(len(snippets))
        return backbone.visual_encoders[0].encode(snippets)

    def stop(done: int, total: int | None, text: str = "", /) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(
        vars(detector), "_backbone", replace(backbone, visual_encoders=(VisualEncoder(see),))
    )
    videos = [video(short), video(long)]
    with pytest.raises(KeyboardInterrupt):
        score_videos(detector, videos, FeatureStore(tmp_path / "store"), stop, 2)
    assert 1 <= sum(seen) < 1200 / detector.spec.stride / 2
