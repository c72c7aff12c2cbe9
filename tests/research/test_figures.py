"""The paper's figures as PNG and SVG: curves over real clips, and an analysis of memories."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from oddframe.outputs import drawing as picture
from oddframe.outputs.drawing import Highlight
from oddframe.research.clips import BenchmarkClip, SplicedVideo
from oddframe.research.reproduce.figures import (
    ScoreCurves,
    read_clip_frames,
    write_curves,
    write_memory_figure,
)
from oddframe.research.reproduce.memory_analysis import MemoryAnalysis
from oddframe.timeline import Timebase
from oddframe.video.decoding.isolated import open_source

SVG = "{http://www.w3.org/2000/svg}"
ORANGE = (232, 133, 12)


@pytest.fixture
def joined(clip: Path, normal_clip: Path) -> SplicedVideo:
    """A normal clip of 60 frames, then a fight of 50."""
    calm = BenchmarkClip(
        str(normal_clip), np.zeros((1, 4, 3), np.float32), Timebase(29.97, 60), False, "n"
    )
    odd = BenchmarkClip(str(clip), np.zeros((1, 4, 3), np.float32), Timebase(25.0, 50), True, "f")
    return SplicedVideo((calm, odd))


def curves(video: SplicedVideo, name: str = "joined 1") -> ScoreCurves:
    scores = np.array([0.1, 0.2, 0.1, 0.2, 0.7, 0.9, 0.8, 0.7])
    tracks = {"UR-DMU": video.track(scores), "RTFM": video.track(scores * 0.6)}
    return ScoreCurves(name, video, tracks)


def like(path: Path, colour: tuple[int, int, int], slack: int = 14) -> NDArray[np.bool_]:
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    found: NDArray[np.bool_] = (np.abs(image - colour) <= slack).all(axis=2)
    return found


def test_several_methods_over_one_video(joined: SplicedVideo, tmp_path: Path) -> None:
    png, svg = tmp_path / "a.png", tmp_path / "a.svg"
    assert write_curves([curves(joined)], png) == []
    for colour in (picture.BLUE_RGB, ORANGE, picture.RED_RGB, picture.GREEN_RGB, picture.PINK_RGB):
        assert like(png, colour).sum() > 100
    tree = ET.parse(svg)
    assert len(tree.findall(f".//{SVG}image")) >= 2
    again = tmp_path / "b.svg"
    write_curves([curves(joined)], tmp_path / "b.png")
    assert again.read_bytes() == svg.read_bytes()


def test_several_videos_are_in_two_columns(joined: SplicedVideo, tmp_path: Path) -> None:
    for count, rows in ((2, 1), (3, 2)):
        png = tmp_path / f"{count}.png"
        shown = [curves(joined, f"joined {i}") for i in range(count)]
        write_curves(shown, png)
        with Image.open(png) as image:
            wide, high = image.size
        assert wide > 2000
        assert abs(high / 160 - rows * 4.61 - 0.45) < 0.1


def test_without_the_video_there_are_no_key_frames(joined: SplicedVideo, tmp_path: Path) -> None:
    gone = SplicedVideo(tuple(replace(c, name=f"gone/{i}.npy") for i, c in enumerate(joined.clips)))
    missing = write_curves([curves(gone)], tmp_path / "a.png")
    assert missing == ["joined 1"]
    assert like(tmp_path / "a.png", picture.PINK_RGB).any()
    write_curves([curves(joined)], tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as without, Image.open(tmp_path / "b.png") as with_them:
        assert without.height < 0.75 * with_them.height  # No empty space in their place.


def test_key_frames_are_those_of_the_highlights(joined: SplicedVideo, clip: Path) -> None:
    second = float(joined.starts_s[1])
    moment = Highlight(second + 10 / 25, True)
    shown = read_clip_frames(joined, [moment, Highlight(0.5, False)])
    frames = [frame.image for frame in open_source(clip).frames()]
    assert len(shown) == 2
    assert np.abs(shown[moment].astype(int) - frames[10]).max() <= 1


def test_key_frames_of_a_clip_that_was_cut(joined: SplicedVideo, clip: Path) -> None:
    cut = replace(joined.clips[1], timebase=Timebase(25.0, 40), first_frame=10)
    moment = Highlight(0.2, True)
    shown = read_clip_frames(SplicedVideo((cut,)), [moment])
    frames = [frame.image for frame in open_source(clip).frames()]
    assert np.abs(shown[moment].astype(int) - frames[15]).max() <= 1


def test_videos_of_features_are_in_another_folder(joined: SplicedVideo, clip: Path) -> None:
    features = SplicedVideo((replace(joined.clips[1], name=f"features/{clip.stem}.npy"),))
    moment = Highlight(0.2, True)
    assert read_clip_frames(features, [moment]) == {}
    assert list(read_clip_frames(features, [moment], clip.parent)) == [moment]


def analysis(odd: int = 30) -> MemoryAnalysis:
    rng = np.random.default_rng(0)
    kinds = np.arange(100) < odd
    usage = {name: rng.random((2, 20)) for name in ("anomaly memory", "normal memory")}
    lengths = rng.normal(3.0, 0.1, 100) + kinds
    return MemoryAnalysis(lengths, kinds, lengths[::10], kinds[::10], usage, 100.0)


def test_norms_and_slots(tmp_path: Path) -> None:
    found = analysis()
    write_memory_figure(found, "UR-DMU on ped2", tmp_path / "a.png")
    assert like(tmp_path / "a.png", picture.GREEN_RGB, 60).sum() > 5000
    assert like(tmp_path / "a.png", picture.RED_RGB, 60).sum() > 5000
    assert ET.parse(tmp_path / "a.svg").getroot().tag == f"{SVG}svg"
    edges = np.asarray(Image.open(tmp_path / "a.png").convert("L"))[:, [0, -1]]
    assert edges.min() > 250  # No label runs out of the picture.
    told = str(found)
    assert "30 abnormal snippets" in told
    assert told.endswith("as a score: 100.0")


def test_snippets_of_one_class(tmp_path: Path) -> None:
    found = analysis(odd=0)
    write_memory_figure(found, "calm", tmp_path / "a.png")
    assert str(found) == "these videos have snippets of one class only"
