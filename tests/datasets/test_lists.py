"""The real lists of UCF-Crime and XD-Violence, and damaged lists."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.published.feature_files import parse_name
from oddframe.datasets.published.lists import read_list
from oddframe.datasets.registry import open_dataset
from oddframe.errors import InputError
from oddframe.timeline import Timebase

# Of each: crops, training videos (abnormal, normal), test videos, frames, anomalous frames.
COUNTS = {
    "ucf_crime": (10, (810, 800), (140, 150), 1_109_680, 84_128),
    "xd_violence": (5, (1905, 2049), (500, 300), 2_330_384, 537_805),
}
PREFIX = {"ucf_crime": "UCF", "xd_violence": "XD"}


def opened(name: str, shared_data: Path) -> Dataset:
    return open_dataset(f"{name}:{shared_data / name}")


@pytest.mark.parametrize("name", COUNTS)
def test_the_lists_have_the_counts_of_the_papers(name: str, shared_data: Path) -> None:
    crops, training, testing, frames, anomalous = COUNTS[name]
    dataset = opened(name, shared_data)
    for part, (abnormal, normal) in (("train", training), ("test", testing)):
        videos = dataset.select_part(part).videos  # type: ignore[arg-type]
        assert Counter(video.abnormal for video in videos) == {True: abnormal, False: normal}
        lines = (shared_data / name / f"{PREFIX[name]}_{part.title()}.list").read_text().split("\n")
        read = {f"{v.path.stem}__{crop}.npy" for v in videos for crop in range(crops)}
        listed = [line.rpartition("/")[2] for line in lines if line]
        assert len(listed) == len(read)
        assert set(listed) == read
    assert all(video.truth is None for video in dataset.select_part("train").videos)
    labels = [
        video.truth.frame_labels(Timebase(video.fps or 0, video.frames or 0))
        for video in dataset.select_part("test").videos
        if video.truth is not None
    ]
    assert (sum(map(len, labels)), int(sum(map(np.sum, labels)))) == (frames, anomalous)
    odd = [bool(each.any()) for each in labels]
    assert odd == [video.abnormal for video in dataset.select_part("test").videos]


def test_classes_are_read_from_the_names(shared_data: Path) -> None:
    ucf, xd = opened("ucf_crime", shared_data), opened("xd_violence", shared_data)
    assert len(ucf.classes) == 13
    assert Counter(video.label for video in ucf.select_part("test").videos)["RoadAccidents"] == 23
    assert [label.split()[0] for label in xd.classes] == ["B1", "B2", "B4", "B5", "B6", "G"]
    name = parse_name(shared_data, "Bad.Boys.1995__#01-11-55_01-12-40_label_G-B2-B6")
    assert (name.letters, name.label, name.work) == (
        ("G", "B2", "B6"),
        "G explosion",
        "Bad.Boys.1995",
    )
    assert name.span == (4315, 4360)


def test_irregularities_of_the_lists_are_noted(shared_data: Path) -> None:
    (clipped,) = opened("ucf_crime", shared_data).notes
    assert clipped.startswith("5 annotated intervals end past the last frame")
    clipped, twice, shared, overlaps = opened("xd_violence", shared_data).notes
    assert clipped.startswith("71 annotated intervals end past the last whole snippet")
    assert "v=qQCTvJq83_s__#1 is listed 2 times, as B1 fighting and normal" in twice
    assert shared.startswith("533 of 800 test videos")
    assert overlaps.startswith("2 test videos show up to 17 s of a training video")


@pytest.mark.parametrize(
    ("name", "clicks", "first"),
    [("ucf_crime", 2026, (299 / 30, 1047 / 30)), ("xd_violence", 4278, (357 / 24,))],
)
def test_published_clicks_are_read(
    name: str, clicks: int, first: tuple[float, ...], shared_data: Path
) -> None:
    videos = opened(name, shared_data).videos
    clicked = [video for video in videos if video.time_labels]
    assert len(clicked) == COUNTS[name][1][0]  # All abnormal training videos.
    assert all(video.abnormal and video.part == "train" for video in clicked)
    assert sum(len(video.time_labels.clicks) for video in clicked) == clicks
    listed = (shared_data / name / "glance.csv").read_text().splitlines()[1].split(",")[0]
    video = next(video for video in clicked if video.path.stem == listed)
    times = video.time_labels.seconds(video.fps or 0).clicks
    assert times[: len(first)] == first


@pytest.mark.parametrize("name", COUNTS)
def test_the_annotation_alone_is_enough(name: str, shared_data: Path, tmp_path: Path) -> None:
    for file in (shared_data / name).iterdir():
        if file.name != "test_frame_labels.json":
            shutil.copy(file, tmp_path)
    with_both, alone = opened(name, shared_data), open_dataset(f"{name}:{tmp_path}")
    for a, b in zip(with_both.videos, alone.videos, strict=True):
        if a.truth is None or b.truth is None or a.frames is None:
            assert a.truth is b.truth is None
            continue
        cut = [np.minimum(each.intervals, a.frames).tolist() for each in (a.truth, b.truth)]
        assert cut[0] == cut[1]
        assert b.frames is None or 0 <= b.frames - a.frames <= 16
    assert sum(v.frames or 0 for v in alone.videos) == (1_111_808 if name == "ucf_crime" else 0)


def test_a_video_below_the_folder_of_the_lists_is_found(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(shared_data / "ucf_crime", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "Anomaly-Videos-Part-1" / "Abuse" / "Abuse001_x264.mp4"
    file.parent.mkdir(parents=True)
    file.touch()
    first, second = open_dataset(f"ucf_crime:{tmp_path}").videos[:2]
    assert first.path == file
    assert not second.path.exists()


def damaged_list(change: Callable[[list[str]], list[str]], path: Path) -> Path:
    lines = [f"any/where/Abuse00{v}_x264__{crop}.npy" for v in (1, 2) for crop in range(10)]
    path.write_text("\n".join(change(lines)) + "\n")
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: lines[:-1], "Abuse002_x264 has the crops 0, 1, 2, 3, 4, 5, 6, 7, 8; it"),
        (lambda lines: [*lines, lines[3]], r"line 21: Abuse001_x264__3.npy occurs twice"),
        (lambda lines: [*lines, "Abuse003_x264.npy"], "line 21 is no crop of a video"),
        (lambda lines: lines[5:15], r"has the crops .*\(and 1 more faults\)"),
        (lambda lines: lines[:0], "the list is empty"),
    ],
)
def test_a_list_with_a_fault_is_refused(
    change: Callable[[list[str]], list[str]], said: str, tmp_path: Path
) -> None:
    whole = damaged_list(lambda lines: lines, tmp_path / "whole.list")
    assert read_list(whole, 10) == ("Abuse001_x264", "Abuse002_x264")
    with pytest.raises(InputError, match=said):
        read_list(damaged_list(change, tmp_path / "bad.list"), 10)


def test_backslashes_and_blank_lines_are_read(tmp_path: Path) -> None:
    lines = [rf"E:\features\Abuse001_x264__{crop}.npy" for crop in range(5)]
    (tmp_path / "a.list").write_text("\r\n\r\n".join(lines))
    assert read_list(tmp_path / "a.list", 5) == ("Abuse001_x264",)


def edited(shared_data: Path, tmp_path: Path, file: str, change: Callable[[str], str]) -> Path:
    shutil.copytree(shared_data / "ucf_crime", tmp_path, dirs_exist_ok=True)
    path = tmp_path / file
    path.chmod(0o644)
    path.write_text(change(path.read_text()))
    return tmp_path


def without_labels(text: str) -> str:
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "Arson022_x264"})


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("UCF_Annotation.txt", lambda t: t.replace("3500 4000", "3500 4100"), "Arson022_x264 has"),
        ("UCF_Annotation.txt", lambda t: t.replace("8640 Arson", "Arson"), "line 1 is no annot"),
        ("UCF_Annotation.txt", lambda t: t + t, "line 291: Arson022_x264 occurs twice"),
        ("test_frame_labels.json", without_labels, "no labels of Arson022_x264"),
        ("UCF_Test.list", lambda t: t.replace("Abuse028", "Abuse001"), "in the training and in"),
        ("UCF_Train.list", lambda t: t.replace("Abuse001", "Misuse001"), "Misuse001_x264 is no"),
        (
            "glance.csv",
            lambda t: t + "Abuse028_x264,3\n",
            "line 2028: Abuse028_x264 is no abnormal",
        ),
        ("glance.csv", lambda t: t + "Abuse001_x264,-3\n", 'line 2028: "-3" is no number of a fr'),
        ("glance.csv", lambda t: t + "Normal_Videos001_x264,3\n", "001_x264 is no abnormal tr"),
    ],
)
def test_contradictory_lists_are_refused(
    file: str, change: Callable[[str], str], said: str, shared_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as error:
        open_dataset(f"ucf_crime:{edited(shared_data, tmp_path, file, change)}")
    assert "\n" not in str(error.value)


def test_missing_labels_are_an_error(shared_data: Path, tmp_path: Path) -> None:
    for file in (shared_data / "ucf_crime").glob("*.list"):
        shutil.copy(file, tmp_path)
    with pytest.raises(InputError, match=r"test_frame_labels.json: no such file, and no UCF_Annot"):
        open_dataset(f"ucf_crime:{tmp_path}")
