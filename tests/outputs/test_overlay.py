"""Annotated videos, and tiles on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.detector import VideoResult
from oddframe.events import EventRule, find_events
from oddframe.outputs import encode
from oddframe.outputs.drawing import box_in_pixels
from oddframe.outputs.overlay import (
    ANNOTATION_ENCODERS,
    EVENT_RED,
    Annotator,
    top_tiles,
)
from oddframe.outputs.score_files import read_score_file, write_json
from oddframe.timeline import ScoreTrack, TileScores, Timebase
from oddframe.video.frame import Frame
from tests.outputs.conftest import INFO

MakeResult = Callable[..., VideoResult]
Image = NDArray[np.uint8]


def annotated(result: VideoResult, path: Path, size: tuple[int, int]) -> list[tuple[float, Image]]:
    """Annotate grey frames of a size (width, height); times and pictures of what comes out."""
    grey = np.full((size[1], size[0], 3), 120, dtype=np.uint8)
    writer = Annotator(path, result)
    for time_s in result.track.timebase.frame_times:
        writer.add(Frame(grey, float(time_s)))
    writer.close()
    with av.open(str(path)) as container:
        return [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def has_red_border(image: Image, height: int) -> bool:
    """Whether all four edges of the picture, the upper ``height`` rows, are red."""
    picture = image[:height].astype(int)
    edges = (picture[1], picture[-2], picture[:, 1], picture[:, -2])
    return all(np.abs(edge.mean(axis=0) - EVENT_RED).max() < 40 for edge in edges)


def test_every_frame_is_written_and_has_a_red_border_during_events(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(100, 25.0, [(1.0, 2.5)], truth=[(1.0, 2.5)])
    (event,) = result.events
    frames = annotated(result, tmp_path / "a.mp4", (320, 240))
    assert len(frames) == 100
    np.testing.assert_allclose([time for time, _ in frames], np.arange(100) / 25, atol=1e-4)
    for time, image in frames:
        assert has_red_border(image, 240) == (event.start_s <= time + 1e-4 < event.end_s)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.pix_fmt == "yuv420p"
        assert float(stream.duration * stream.time_base) == pytest.approx(4.0, abs=0.01)


def test_a_variable_frame_rate_keeps_its_times(make_result: MakeResult, tmp_path: Path) -> None:
    pts = np.concatenate([np.arange(20) * 0.04, 2 + np.arange(20) * 0.31])
    frames = annotated(make_result(40, 5.0, pts=pts), tmp_path / "a.mp4", (160, 120))
    np.testing.assert_allclose([time for time, _ in frames], pts, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "picture"),
    [
        ((1920, 1080), (1280, 720)),
        ((353, 241), (352, 240)),
        ((64, 48), (320, 240)),
        ((720, 1280), (720, 1280)),
        ((40, 400), (128, 1280)),
    ],
)
def test_sizes_are_even_and_neither_huge_nor_tiny(
    make_result: MakeResult, tmp_path: Path, size: tuple[int, int], picture: tuple[int, int]
) -> None:
    ((_, image),) = annotated(make_result(1, 25.0), tmp_path / "a.mp4", size)
    height, width = image.shape[:2]
    assert width == max(320, picture[0])
    assert height > picture[1] > 0
    assert width % 2 == height % 2 == 0
    grey = (np.abs(image[: picture[1]].astype(int) - 120) < 12).all(axis=2)
    assert grey.mean() > 0.9 * picture[0] / width


def test_the_playhead_moves_and_the_truth_is_marked(
    make_result: MakeResult, tmp_path: Path
) -> None:
    result = make_result(100, 25.0, truth=[(2.0, 3.0)])
    frames = annotated(result, tmp_path / "a.mp4", (320, 240))
    plot = [image[-50:].astype(int).min(axis=2) for _, image in frames]
    heads = [int(np.argmax((strip > 180).sum(axis=0))) for strip in plot]
    assert heads[10] < heads[50] < heads[90]

    def pink(image: Image) -> bool:
        header = image[240:265].astype(int)
        return bool(((header[..., 0] > 200) & (abs(header[..., 1] - 154) < 30)).sum() > 30)

    assert [pink(frames[i][1]) for i in (10, 60, 90)] == [False, True, False]


def test_without_h264_another_encoder_is_used(
    make_result: MakeResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encode, "_has", lambda codec: codec != "libx264")
    frames = annotated(make_result(30, 25.0), tmp_path / "a.mp4", (320, 240))
    assert len(frames) == 30
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == ANNOTATION_ENCODERS[1].codec


def test_the_curve_of_ten_hours_is_drawn_once(make_result: MakeResult, tmp_path: Path) -> None:
    result = make_result(900_000, 25.0, [(7000.0, 7040.0)])
    grey = np.full((240, 320, 3), 120, dtype=np.uint8)
    writer = Annotator(tmp_path / "a.mp4", result)
    for time_s in (0.0, 7020.0, 35_999.96):
        writer.add(Frame(grey, time_s))
    writer.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        reds = [
            has_red_border(frame.to_ndarray(format="rgb24"), 240)
            for frame in container.decode(video=0)
        ]
    assert reds == [False, True, False]


def tiled_result() -> VideoResult:
    """Odd in the top right tile in the second snippet, in the bottom left one in the fourth."""
    scores = np.full((6, 5), 0.1)
    scores[2, 1], scores[3, 3] = 0.9, 0.8
    tiles = TileScores((2, 3), scores)
    track = ScoreTrack(scores.max(axis=0), Timebase(16.0, 80), tiles)
    rule = EventRule(merge_gap_s=0.5)
    return VideoResult("a.mp4", track, find_events(track, rule), rule, INFO)


def test_tiles_in_pixels_cover_the_picture_without_gaps() -> None:
    tiles = TileScores((2, 3), np.zeros((6, 1)))
    boxes = [box_in_pixels(tiles.box(i), 361, 240) for i in range(6)]
    assert sum((r - x) * (b - y) for x, y, r, b in boxes) == 361 * 240


def test_an_event_has_the_tile_of_its_peak() -> None:
    first, second = tiled_result().events
    assert first.where == (2 / 3, 0.0, 1.0, 0.5)
    assert second.where == (0.0, 0.5, 1 / 3, 1.0)


def test_each_frame_has_the_tile_with_the_highest_score() -> None:
    tiles = top_tiles(tiled_result().track)
    assert tiles.shape == (80,)
    assert set(tiles[16:32]) == {2}
    assert set(tiles[48:64]) == {3}


def test_the_score_file_keeps_tiles_and_boxes(tmp_path: Path) -> None:
    result = tiled_result()
    write_json(result, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["tiles"]["grid"] == [2, 3]
    again = read_score_file(tmp_path / "a.json").result
    assert again.events == result.events
    assert again.track.tiles is not None
    np.testing.assert_array_equal(again.track.tiles.scores, result.track.tiles.scores)  # type: ignore[union-attr]
