"""``run_training`` on real clips: model file, stored features, unreadable videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oddframe.cli.demo import DEMO_DATA
from oddframe.datasets.labelled import NORMAL, Dataset, LabelledVideo, TimeLabels
from oddframe.datasets.published.video_files import read_surveillance_fight
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.modelfile import Model, load_model
from oddframe.training.config import CalibrationSection, TrainConfig
from oddframe.training.configure import config_from_model
from oddframe.training.data import features as gather
from oddframe.training.train import run_training
from tests.training.planted import small_config
from tests.training.precomputed import ProgressLog

FEATURES = {"resize": [64, 64], "crop_size": [64, 64], "crops": ["full"]}
RECORDINGS = ("s01", "s05", "s06", "s09", "s10", "s26")


def config(**sections: Any) -> TrainConfig:
    return small_config(**{"features": FEATURES, **sections})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return FeatureStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def clips(shared_data: Path) -> Dataset:
    """One fight and one normal clip of each of six real recordings."""
    everything = read_surveillance_fight(shared_data / "surveillance_fight")
    chosen = [
        next(v for v in everything.videos if v.group == group and v.abnormal == abnormal)
        for group in RECORDINGS
        for abnormal in (False, True)
    ]
    return Dataset("clips", tuple(chosen))


@pytest.fixture(scope="module")
def trained(
    clips: Dataset, store: FeatureStore, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Path, ProgressLog]:
    out, log = tmp_path_factory.mktemp("trained") / "fight.safetensors", ProgressLog()
    return (
        run_training(
            clips, config(), out, store=store, jobs=2, progress=log, message=log.message
        ).model,
        out,
        log,
    )


def test_a_model_file_is_written(trained: tuple[Model, Path, ProgressLog], clips: Dataset) -> None:
    model, out, log = trained
    assert sorted(p.name for p in out.parent.iterdir()) == ["fight.log.jsonl", "fight.safetensors"]
    assert (model.name, model.method, model.detects) == ("fight", "ur_dmu", "fight")
    assert load_model(out).sha256 == model.sha256
    assert [row[:2] for row in log.videos] == [(i, 12) for i in range(1, 13)]
    assert [row[:2] for row in log.steps] == [(i, 12) for i in range(1, 13)]
    assert len((out.parent / "fight.log.jsonl").read_text().splitlines()) == 12
    card = model.card
    assert card["data"] == "clips"
    assert len(card["held_out_groups"]) in (1, 2)
    held = 2 * len(card["held_out_groups"])
    assert card["held_out_videos"] == held
    assert card["training_videos"] == {"normal": 6 - held // 2, "abnormal": 6 - held // 2}
    assert set(model.metrics) == {"video_auc", "video_accuracy"}
    json.dumps(dict(card), allow_nan=False)


def test_the_threshold_keeps_the_wanted_rate_on_held_out_videos(
    trained: tuple[Model, Path, ProgressLog], clips: Dataset, store: FeatureStore
) -> None:
    model, _, log = trained
    rule, spec = model.profiles["best"].rule, model.profiles["best"].spec
    held = [v for v in clips.videos if v.group in model.card["held_out_groups"]]
    for video in held:
        features = store.get(content_hash(video.path), spec)
        assert features is not None
        if not video.abnormal:
            assert model.score(features).scores.max() < rule.threshold
    assert any("minutes of normal video, too little" in line for line in log.lines)


def test_clicks_of_real_clips_are_labels(
    trained: tuple[Model, Path, ProgressLog], clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    plain, _, _ = trained
    clicked = [
        replace(v, time_labels=TimeLabels((1.0,))) if v.abnormal else v for v in clips.videos
    ]
    log = ProgressLog()
    found = run_training(
        Dataset("clips", tuple(clicked)),
        config(clicks={"weight": 0.1}),
        tmp_path / "fight.safetensors",
        store=store,
        message=log.message,
    )
    n = plain.card["training_videos"]["abnormal"]
    assert log.has_line(f"labels in time: {n} clicks in {n} of {n} abnormal videos")
    terms = [json.loads(line)["clicks"] for line in found.log.read_text().splitlines()]
    assert len(terms) == 12
    assert min(terms) > 0
    assert found.model.sha256 != plain.sha256


def no_extraction(*_: Any, **__: Any) -> None:
    raise AssertionError("features were extracted anew")


def test_a_second_run_extracts_nothing_and_gives_the_same_model(
    trained: tuple[Model, Path, ProgressLog],
    clips: Dataset,
    store: FeatureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, first, _ = trained
    monkeypatch.setattr(gather, "extract_tasks", no_extraction)
    monkeypatch.setattr(gather, "load_backbone", no_extraction)
    run_training(clips, config(), tmp_path / "fight.safetensors", store=store)
    assert (tmp_path / "fight.safetensors").read_bytes() == first.read_bytes()


def test_a_damaged_feature_file_is_extracted_again(
    clips: Dataset, store: FeatureStore, trained: tuple[Model, Path, ProgressLog], tmp_path: Path
) -> None:
    model, first, _ = trained
    path = store.path(content_hash(clips.videos[0].path), model.profiles["best"].spec)
    path.write_bytes(path.read_bytes()[:-7])
    run_training(clips, config(), tmp_path / "fight.safetensors", store=store)
    assert (tmp_path / "fight.safetensors").read_bytes() == first.read_bytes()


def test_a_video_that_cannot_be_read_is_left_out_and_named(
    clips: Dataset, store: FeatureStore, bad_video: Callable[[str], Path], tmp_path: Path
) -> None:
    bad = LabelledVideo(bad_video("text"), True, "fight", "bad")
    log = ProgressLog()
    dataset = Dataset("clips", (*clips.videos, bad))
    groups = {"calibration": {"groups": ["s01"]}}
    out = tmp_path / "m.safetensors"
    model = run_training(
        dataset, config(**groups), out, store=store, progress=log, message=log.message
    ).model
    assert list(model.card["left_out"]) == [bad.path.name], "no folders in a file to share"
    assert any(line.startswith("left out:") and str(bad.path) in line for line in log.lines)
    assert model.card["held_out_groups"] == ["s01"]


def test_a_class_of_unreadable_videos_is_refused(
    clips: Dataset, store: FeatureStore, bad_video: Callable[[str], Path], tmp_path: Path
) -> None:
    normal = tuple(v for v in clips.videos if not v.abnormal)
    bad = LabelledVideo(bad_video("text"), True, "fight", "bad")
    log = ProgressLog()
    with pytest.raises(InputError, match="no abnormal videos to train on; 1 could not be read"):
        run_training(
            Dataset("clips", (*normal, bad)),
            config(calibration={"share": 0}),
            tmp_path / "m.safetensors",
            store=store,
            progress=log,
            message=log.message,
        )
    assert any(str(bad.path) in line for line in log.lines)
    assert not (tmp_path / "m.safetensors").exists()


def test_with_too_few_groups_training_videos_set_the_threshold(
    clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    log = ProgressLog()
    two = Dataset("two", tuple(v for v in clips.videos if v.group in RECORDINGS[:2]))
    model = run_training(
        two, config(), tmp_path / "m.safetensors", store=store, progress=log, message=log.message
    ).model
    assert any("too few groups (2)" in line for line in log.lines)
    assert model.card["threshold_best"]["on"] == "training videos"
    assert model.metrics == {}


def test_a_few_clips_keep_the_threshold_of_the_pretrained_model(
    tmp_path: Path,
) -> None:
    fight, log = load_model("fight_urdmu"), ProgressLog()
    chosen = {"s28": ["nofi093", "fi128"], "s06": ["nofi057", "fi026"]}
    videos = [
        LabelledVideo(
            DEMO_DATA / f"{name}.mp4", name[0] == "f", "fight" if name[0] == "f" else NORMAL, group
        )
        for group, names in chosen.items()
        for name in names
    ]
    settings = config_from_model(fight).with_recipe(steps=4, normal_bags=2, abnormal_bags=2)
    halves = settings.model_copy(update={"calibration": CalibrationSection(share=0.5)})
    model = run_training(
        Dataset("handful", tuple(videos)),
        halves,
        tmp_path / "m.safetensors",
        store=FeatureStore(tmp_path / "store"),
        progress=log,
        message=log.message,
        pretrained=fight,
    ).model
    assert log.has_line("stays as it is, with a small correction of its scores from 1 abnormal")
    assert model.network.correction is not None
    for name, before in fight.profiles.items():
        assert model.profiles[name].rule.threshold == before.rule.threshold
        assert model.profiles[name].rule.release == pytest.approx(before.rule.release)
    assert model.card["threshold_best"]["set_by"] == "model"
    assert log.has_line(
        "the threshold stays 0.75, that of the model 'fight_urdmu': held out are 0.0 minutes"
    )
    assert load_model(tmp_path / "m.safetensors").profiles["best"].rule.threshold == 0.75


def test_one_video_under_two_labels_is_refused(
    clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(clips.videos[0].path.read_bytes())
    dataset = Dataset("clips", (*clips.videos, LabelledVideo(twin, True, "fight", "twin")))
    with pytest.raises(InputError, match=r"twin\.mp4 are the same video, once 'normal'"):
        run_training(dataset, config(), tmp_path / "m.safetensors", store=store)


def test_joined_bags_two_profiles_half_precision_and_more_crops(
    clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    chosen = config(
        bags={"mode": "joined", "clips": [3, 4], "abnormal": [1, 2]},
        fast={"stride": 32},
        training_features={"crops": ["full", "full_mirrored"]},
        half=True,
        detects="fights",
        events={"smooth_s": 1.0, "release": 0.5, "fast_threshold": 0.3},
        method="linear",
    )
    model = run_training(clips, chosen, tmp_path / "m.safetensors", store=store).model
    assert model.detects == "fights"
    assert model.profiles["best"].spec.crops == ("full",)
    assert model.profiles["fast"].spec.stride == 32
    rule = model.profiles["best"].rule
    assert rule.release == pytest.approx(rule.threshold / 2)
    assert rule.smooth_s == 1.0
    assert rule.threshold != 0.3  # It was calibrated.
    fast = model.profiles["fast"].rule
    assert (fast.threshold, fast.release, fast.smooth_s) == (0.3, 0.15, 1.0)
    assert {"frame_auc", "frame_auc_sub", "video_auc", "fast_video_auc"} <= set(model.metrics)
    assert all(0 <= value <= 1 for value in model.metrics.values())
    features = store.get(content_hash(clips.videos[0].path), model.profiles["best"].spec)
    assert features is not None
    assert np.isfinite(model.score(features).scores).all()


def test_an_interrupted_run_resumes(clips: Dataset, store: FeatureStore, tmp_path: Path) -> None:
    class Stop(ProgressLog):
        def __call__(self, done: int, _: int | None, text: str, /) -> None:
            if text.startswith("training") and done == 103:
                raise KeyboardInterrupt

    chosen = config(method="linear", recipe={"steps": 105})
    out, whole = tmp_path / "m.safetensors", tmp_path / "whole" / "m.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run_training(clips, chosen, out, store=store, progress=Stop())
    assert (tmp_path / "m.training").is_dir()
    log = ProgressLog()
    run_training(clips, chosen, out, store=store, progress=log, message=log.message)
    assert [row[0] for row in log.steps] == [101, 102, 103, 104, 105]
    run_training(clips, chosen, whole, store=store)
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(p.name for p in tmp_path.glob("m.*")) == ["m.log.jsonl", "m.safetensors"]


def test_an_impossible_output_is_refused_before_the_work(
    clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    log = ProgressLog()
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        run_training(
            clips, config(), tmp_path / "m.pt", store=store, progress=log, message=log.message
        )
    (tmp_path / "file").touch()
    with pytest.raises(OddframeError, match="cannot be written"):
        run_training(
            clips,
            config(),
            tmp_path / "file" / "m.safetensors",
            store=store,
            progress=log,
            message=log.message,
        )
    wrong = config(calibration={"groups": ["s99"]})
    with pytest.raises(UsageError, match="no group s99"):
        run_training(
            clips, wrong, tmp_path / "m.safetensors", store=store, progress=log, message=log.message
        )
    assert log.videos == []


def test_the_model_names_all_abnormal_classes(
    clips: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    videos = [
        replace(v, label="fall") if v.abnormal and v.group in RECORDINGS[:3] else v
        for v in clips.videos
    ]
    model = run_training(
        Dataset("clips", tuple(videos)),
        config(method="linear", calibration={"groups": ["s26"]}),
        tmp_path / "m.safetensors",
        store=store,
    ).model
    assert model.detects == "fall, fight"
