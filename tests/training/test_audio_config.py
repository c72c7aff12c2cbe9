"""Configurations of methods that read picture and sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.errors import UsageError
from oddframe.features.store.store import FeatureStore
from oddframe.training.config import TrainConfig
from oddframe.training.configure import check_audio, with_audio_dim, with_required_audio_dim
from oddframe.training.train import run_training
from tests.training.planted import DIM, small_config
from tests.training.precomputed import ready_made

SMALL = {"hidden": 8}


def config(name: str) -> TrainConfig:
    method = {"name": name, "config": {} if name == "linear" else SMALL}
    return TrainConfig.model_validate({**small_config(name).model_dump(), "method": method})


def test_backbone_names_give_the_audio_dim() -> None:
    told = with_required_audio_dim(config("acf"), "i3d+aisfx")
    assert told.method.config == {**SMALL, "sound": 512}
    assert with_required_audio_dim(told, "i3d") == told  # What is set stays.
    assert with_required_audio_dim(config("linear"), "i3d") == config("linear")
    assert with_audio_dim(config("acf"), "i3d") == config("acf")


@pytest.mark.parametrize("name", ["pang", "acf"])
def test_features_without_sound_are_refused(name: str, tmp_path: Path) -> None:
    data, store = ready_made(tmp_path / "videos", 4), FeatureStore(tmp_path / "store")
    with pytest.raises(UsageError, match="these features have no known sound") as refused:
        run_training(data, config(name), tmp_path / "m.safetensors", store=store)
    assert "\n" not in str(refused.value)


def test_missing_sound_is_refused_before_any_video_is_opened(
    tmp_path: Path,
) -> None:
    videos = (LabelledVideo(tmp_path / "not_there.mp4", False, "normal", "g"),)
    for told in (config("linear"), with_required_audio_dim(config("acf"), "i3d+aisfx")):
        check_audio(told, Dataset("made", videos))
    with pytest.raises(UsageError, match="no known sound"):
        check_audio(config("acf"), Dataset("made", videos))
    check_audio(config("acf"), ready_made(tmp_path / "ready", 2))  # Their files will tell.


def test_own_arrays_train_once_the_audio_dim_is_set(tmp_path: Path) -> None:
    data, store = ready_made(tmp_path / "videos", 4), FeatureStore(tmp_path / "store")
    method = {"name": "acf", "config": {**SMALL, "sound": 4}}
    told = TrainConfig.model_validate({**config("acf").model_dump(), "method": method})
    done = run_training(data, told, tmp_path / "m.safetensors", store=store)
    assert done.model.network.network.modality_dims == (DIM - 4, 4)
