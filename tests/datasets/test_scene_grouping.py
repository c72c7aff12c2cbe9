"""Videos of one scene are found by their backgrounds."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import oddframe
from oddframe.datasets import scene_grouping as module
from oddframe.datasets.labelled import Dataset, LabelledVideo
from oddframe.datasets.registry import open_dataset
from oddframe.datasets.scene_grouping import (
    BACKGROUND_DIM,
    SAME_SCENE,
    assign_scene_groups,
    compute_background,
    find_scenes,
    same_scene_warnings,
)
from oddframe.features.store.store import FeatureStore
from tests.conftest import Image, encode

DATA = Path(oddframe.__file__).parent / "demo_data"


def video(path: str | Path, group: str = "", label: str = "normal") -> LabelledVideo:
    """A video; without ``group`` nobody said where it is from."""
    own = "" if group else f"own/{Path(path).name}"
    return LabelledVideo(Path(path), label != "normal", label, group or own, fallback_group=own)


def dataset(*videos: LabelledVideo) -> Dataset:
    return Dataset("made", videos)


def alike(one: Path, other: Path) -> bool:
    return bool(compute_background(one) @ compute_background(other) >= SAME_SCENE)


class TestBackground:
    def test_light_and_people_walking_by_do_not_matter(
        self, tmp_path: Path, clip: Path, normal_clip: Path, clip_frames: list[Image]
    ) -> None:
        dark = [(0.5 * frame + 15).astype(np.uint8) for frame in clip_frames]
        for i, frame in enumerate(dark):
            frame[100:220, 4 * i : 4 * i + 60] = 200
        assert alike(clip, encode(tmp_path / "dark.mp4", dark))
        assert not alike(clip, normal_clip)

    def test_black_bars_do_not_make_videos_similar(
        self, tmp_path: Path, clip: Path, normal_clip: Path
    ) -> None:
        def barred(path: Path) -> Path:
            frames = module.sample_pictures(path, (320, 240))
            bars = [cv2.copyMakeBorder(f, 40, 40, 64, 64, cv2.BORDER_CONSTANT) for f in frames]
            return encode(tmp_path / f"bars_{path.name}", bars)

        one, other = barred(clip), barred(normal_clip)
        assert not alike(one, other)
        assert alike(one, clip)

    def test_empty_pictures_are_not_similar(self, tmp_path: Path) -> None:
        black = encode(tmp_path / "a.mp4", [np.zeros((72, 96, 3), np.uint8)] * 3)
        assert not compute_background(black).any()
        assert not alike(black, black)


def recordings() -> dict[str, list[Path]]:
    """The shipped clips by the recording that they were cut from."""
    found: dict[str, list[Path]] = {}
    with (DATA / "clips.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["recording"], []).append(DATA / row["clip"])
    return found


def test_clips_of_three_recordings_are_three_scenes() -> None:
    clips = {path: name for name, paths in recordings().items() for path in paths[:4]}
    seen: list[tuple[int, int | None]] = []
    scenes = find_scenes(
        dataset(*map(video, clips)), lambda done, total, _: seen.append((done, total))
    )
    assert len({*zip(clips.values(), scenes.values(), strict=True)}) == 3
    assert len({*scenes.values()}) == 3
    assert {*scenes.values()} <= {str(path) for path in clips}
    assert seen == [(i, 12) for i in range(1, 13)]


@pytest.mark.slow
def test_no_two_recordings_become_one_scene(shared_data: Path) -> None:
    everything = open_dataset(f"surveillance_fight:{shared_data / 'surveillance_fight'}")
    clips = everything.subset(range(0, len(everything), 3))
    scenes = find_scenes(clips)
    assert len(scenes) == len(clips)
    assert same_scene_warnings(clips, scenes) == []
    place = np.array([scenes[v.path] for v in clips.videos])
    group = np.array([v.group for v in clips.videos])
    pairs = np.triu_indices(len(clips), 1)
    linked = (place[:, None] == place)[pairs]
    same = (group[:, None] == group)[pairs]
    assert linked[same].mean() > 0.25
    assert same[linked].all()


def test_links_are_transitive(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = {"a.mp4": 0.0, "far.mp4": 180.0, "c.mp4": 120.0, "b.mp4": 60.0}

    def seen(path: Path) -> np.ndarray:
        turn = np.deg2rad(angles[path.name])
        return np.array([np.cos(turn), np.sin(turn)], np.float32)

    monkeypatch.setattr(module, "compute_background", seen)
    assert np.cos(np.deg2rad(60)) > SAME_SCENE > np.cos(np.deg2rad(120))
    names = [Path(name) for name in angles]
    assert {*find_scenes(dataset(*map(video, names))).values()} == {"a.mp4"}
    assert {*find_scenes(dataset(*map(video, names[:3]))).values()} == {"a.mp4", "far.mp4"}


def test_videos_without_pictures_have_no_scene(
    tmp_path: Path, clip: Path, bad_video: Callable[[str], Path]
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 8), np.float32))
    videos = [video(path) for path in (tmp_path / "a.npy", bad_video("text"), clip)]
    assert find_scenes(dataset(*videos)) == {clip: str(clip)}
    assert find_scenes(dataset(*videos[:2])) == {}


def test_a_video_is_decoded_once(
    tmp_path: Path, clip: Path, normal_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    whole = module.compute_background

    def looking(path: Path) -> np.ndarray:
        looked.append(path)
        return whole(path)

    monkeypatch.setattr(module, "compute_background", looking)
    store, both = FeatureStore(tmp_path / "store"), dataset(video(clip), video(normal_clip))
    first = find_scenes(both, store=store)
    assert looked == [clip, normal_clip]
    assert find_scenes(both, store=store) == first
    moved = shutil.copy(clip, tmp_path / "moved.mp4")
    assert find_scenes(dataset(video(moved)), store=store) == {moved: str(moved)}
    assert looked == [clip, normal_clip]
    kept = sorted((tmp_path / "store").rglob("*.npy"))
    assert [path.stat().st_size for path in kept] == [2 * BACKGROUND_DIM + 128] * 2
    kept[0].write_bytes(kept[0].read_bytes()[:-9])
    assert find_scenes(both, store=store) == first
    assert len(looked) == 3


def test_a_read_only_store_is_no_error(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "store").write_text("a file")
    found = find_scenes(dataset(video(clip)), store=FeatureStore(tmp_path / "store"))
    assert found == {clip: str(clip)}


SCENES = {Path(f"{name}.mp4"): place for name, place in zip("abcde", "xxyyz", strict=True)}


def test_videos_of_one_scene_become_one_group() -> None:
    loose = dataset(*(video(f"{name}.mp4") for name in "abcdef"))
    grouped = assign_scene_groups(loose, SCENES)
    groups = ["own/a.mp4", "own/a.mp4", "own/c.mp4", "own/c.mp4", "own/e.mp4", "own/f.mp4"]
    assert [v.group for v in grouped.videos] == groups
    assert [replace(v, group=v.fallback_group) for v in grouped.videos] == list(loose.videos)
    assert same_scene_warnings(loose, SCENES) == []


def test_a_given_group_stays_and_absorbs_others() -> None:
    mixed = dataset(video("a.mp4"), video("b.mp4", "yard"), video("c.mp4", "gate"))
    assert [v.group for v in assign_scene_groups(mixed, SCENES).videos] == ["yard", "yard", "gate"]


def test_given_groups_with_one_scene_are_reported() -> None:
    given = [("a", "yard"), ("b", "gate"), ("c", "hall"), ("d", "hall"), ("e", "roof")]
    videos = [video(f"{name}.mp4", group) for name, group in given]
    (line,) = same_scene_warnings(dataset(*videos), SCENES)
    assert "the groups 'yard' and 'gate' seem to show one place (a.mp4, b.mp4)" in line
    everywhere = dict.fromkeys(SCENES, "x")
    (line,) = same_scene_warnings(dataset(*videos), everywhere)
    assert "'yard' and 'gate' and 2 more groups" in line
