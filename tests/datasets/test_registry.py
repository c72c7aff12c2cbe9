"""Published data sets by name, and the messages for unknown names and missing files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oddframe.datasets.registry import dataset_names, get_published_dataset, open_dataset
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.feature_file import read_any_features
from oddframe.timeline import Timebase


@pytest.mark.parametrize("name", dataset_names())
def test_a_published_data_set_has_the_counts_of_its_paper(name: str, shared_data: Path) -> None:
    dataset, about = open_dataset(f"{name}:{shared_data / name}"), get_published_dataset(name)
    assert (len(dataset), sum(v.abnormal for v in dataset.videos)) == (about.videos, about.abnormal)
    frames = [
        v.truth.frame_labels(Timebase(v.fps or 25, v.frames))
        for v in dataset.videos
        if v.truth and v.frames
    ]
    assert sum(labels.size for labels in frames) == about.labelled_frames
    assert sum(int(labels.sum()) for labels in frames) == about.anomalous_frames
    assert all(v.abnormal == (v.label != "normal") for v in dataset.videos)


def test_the_published_split_is_kept(shared_data: Path) -> None:
    clips = open_dataset(f"ped2:{shared_data / 'ped2'}")
    assert not any(v.abnormal for v in clips.select_part("train").videos)
    tracks = open_dataset(f"shanghaitech_tracks:{shared_data / 'shanghaitech_tracks'}")
    assert (len(tracks.select_part("train")), len(tracks.select_part("test"))) == (238, 199)
    video = tracks.select_part("test").videos[0]
    features = read_any_features(video.path, video.frames, video.fps)
    assert features.array.shape[2] == 128
    assert features.timebase.n_frames == video.frames


def test_a_folder_takes_precedence_over_a_name(tmp_path: Path) -> None:
    for label in ("normal", "odd"):
        (tmp_path / "ped2" / label).mkdir(parents=True)
        (tmp_path / "ped2" / label / "a.mp4").touch()
    assert open_dataset(tmp_path / "ped2").classes == ("odd",)


def test_messages_for_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean ped2"):
        open_dataset(f"Ped-2:{tmp_path}")
    with pytest.raises(UsageError, match="give its folder"):
        open_dataset("ur_fall")
    with pytest.raises(UsageError, match="give its folder"):
        open_dataset("ur_fall:")
    with pytest.raises(InputError, match="no such folder or CSV"):
        open_dataset("nowhere")
    with pytest.raises(
        InputError, match="nowhere: no such folder; it was given as the folder of ped2"
    ):
        open_dataset("ped2:nowhere")


@pytest.mark.parametrize("name", dataset_names())
def test_an_empty_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        open_dataset(f"{name}:{tmp_path}")


def test_a_missing_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "testing").mkdir()
    labels = {"01": {"frames": 20, "anomalous": [[3, 9]]}}
    (tmp_path / "test_frame_labels.json").write_text(json.dumps(labels))
    with pytest.raises(InputError, match="1 of 1 clips are missing: 01"):
        open_dataset(f"ped2:{tmp_path}")


@pytest.mark.parametrize("name", dataset_names())
def test_a_data_set_is_registered_under_its_own_name(name: str) -> None:
    assert get_published_dataset(name).name == name
