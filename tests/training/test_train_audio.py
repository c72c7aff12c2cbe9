"""Training on picture and sound, from real sound to scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.detector import Detector
from oddframe.features.store.store import FeatureStore
from oddframe.training.config import TrainConfig, read_config
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from oddframe.training.train import run_training
from tests.conftest import ROOT, Image, encode
from tests.sounds import with_sound
from tests.training.planted import small_config
from tests.training.precomputed import ProgressLog

CONFIG = read_config(ROOT / "configs" / "fight_sound.yaml")
SMALL = {"resize": [32, 32], "crop_size": [32, 32], "crops": ["full"]}


def config(backbone: str, **sections: Any) -> TrainConfig:
    features = {"backbone": backbone, **SMALL}
    return small_config(**{"features": features, "method": "linear", **sections})


def heard(number: int, abnormal: bool) -> np.ndarray:
    """Two seconds of quiet noise; in abnormal videos an alarm goes off in the second one."""
    rng = np.random.default_rng(number)
    sound = rng.normal(0, 0.01, 96_000)
    if abnormal:
        t = np.arange(48_000) / 48_000
        sound[48_000:] += 0.5 * np.sin(2 * np.pi * (900 + 300 * np.sin(12 * t)) * t)
    return sound.astype(np.float32)


@pytest.fixture
def alarms(clip_frames: list[Image], tmp_path: Path) -> Dataset:
    """Videos of one and the same picture, of which sound alone says what is abnormal."""
    frames = [np.ascontiguousarray(frame[:64, :64]) for frame in clip_frames]
    videos = []
    for number in range(12):
        abnormal = number % 2 == 1
        path = tmp_path / f"v{number:02}.mkv"
        with_sound(path, frames, [heard(number, abnormal)])
        label = "alarm" if abnormal else "normal"
        videos.append(LabelledVideo(path, abnormal, label, f"g{number // 2}"))
    return Dataset("alarms", tuple(videos))


def check_alarms(detector: Detector, alarms: Dataset) -> None:
    """The end of every abnormal video is odder than its start and than every normal video."""
    scores = {video.path: detector.score(video.path).scores for video in alarms.videos}
    calm = max(scores[video.path].max() for video in alarms.videos if not video.abnormal)
    for video in alarms.videos:
        if video.abnormal:
            first, *_, last = scores[video.path]
            assert last > max(first, calm)


@pytest.mark.slow
def test_anomalies_in_the_sound_alone_are_found(alarms: Dataset, tmp_path: Path) -> None:
    store, out = FeatureStore(tmp_path / "store"), tmp_path / "alarm.safetensors"
    made = run_training(alarms, config("i3d+aisfx"), out, store=store)
    spec = made.model.profiles["best"].spec
    assert (spec.backbone, spec.dim) == ("i3d+aisfx", 1024 + 512)
    check_alarms(Detector.load(out), alarms)
    # Sound alone: its features are there already.
    alone = tmp_path / "alone.safetensors"
    run_training(alarms, config("aisfx"), alone, store=store)
    check_alarms(Detector.load(alone), alarms)
    assert Detector.load(alone).info.backbone == "aisfx"
    # The same pictures without sound: nothing is heard, and it is said.
    silent = encode(tmp_path / "silent.mp4", [np.zeros((64, 64, 3), np.uint8)] * 50)
    assert Detector.load(out).features(silent).notes == ("no sound: silence in its place",)
    assert len(list((tmp_path / "store").rglob("*.safetensors"))) == 24, "picture and sound apart"


@pytest.mark.slow
def test_picture_and_sound_are_extracted_once(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shared_data / "surveillance_fight"
    loud = ("fi013.mp4", "fi020.mp4", "nofi079.mp4")
    videos = [v for v in read_surveillance_fight(folder).videos if v.path.name in loud]
    section = CONFIG.features.model_copy(update={"resize": (32, 32), "crop_size": (32, 32)})
    picture, sound = (section.model_copy(update={"backbone": name}) for name in ("i3d", "aisfx"))
    extractor, log = Extractor(FeatureStore(tmp_path), "auto", "auto"), ProgressLog()
    requests = [FeatureRequest(video, (section,)) for video in videos]
    video = LabelledVideo(tmp_path / "x.mp4", False, "normal", "x")
    assert not extractor.is_stored(video, "0" * 64, section)
    first, failed = load_features(requests, extractor, 2, log, log.message)
    assert not failed
    assert log.lines == ["nofi079.mp4: no sound: silence in its place"]
    assert all(extractor.is_stored(each.video, each.sha256, section) for each in first)

    def no_extraction(*_: Any, **__: Any) -> None:
        raise AssertionError("features were extracted anew")

    monkeypatch.setattr("oddframe.training.data.features.extract_tasks", no_extraction)
    requests = [FeatureRequest(video, (section, picture, sound)) for video in videos]
    again, _ = load_features(requests, extractor)
    for one, other in zip(first, again, strict=True):
        both = one.features[section].array
        np.testing.assert_array_equal(both, other.features[section].array)
        np.testing.assert_array_equal(both[..., :1024], other.features[picture].array)
        np.testing.assert_array_equal(both[..., 1024:], other.features[sound].array)
        heard = np.ptp(both[0, :, 1024:], axis=0).max() > 0
        assert heard == (one.video.path.name != "nofi079.mp4")


def test_the_shipped_configuration_with_sound_matches_the_one_without() -> None:
    fight = read_config(ROOT / "configs" / "fight_urdmu.yaml")
    assert CONFIG.features.backbone == "i3d+aisfx"
    assert CONFIG.features.preprocessing() == fight.features.preprocessing()
    assert (CONFIG.bags, CONFIG.recipe, CONFIG.method) == (fight.bags, fight.recipe, fight.method)
