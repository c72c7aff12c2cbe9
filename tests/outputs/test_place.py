"""Where in the picture it is odd."""

import json
from pathlib import Path

import numpy as np
import pytest

from oddframe.detector import VideoResult
from oddframe.events import EventRule, find_events
from oddframe.outputs.scores.json_file import read_json, write_json
from oddframe.outputs.text import describe_box
from oddframe.outputs.video.overlay import box_in_pixels, top_tiles
from oddframe.timeline import Box, ScoreTrack, TileScores, Timebase
from tests.outputs.conftest import INFO


def tiled_result() -> VideoResult:
    """Odd in the top right tile in the second snippet, in the bottom left one in the fourth."""
    scores = np.full((6, 5), 0.1)
    scores[2, 1], scores[3, 3] = 0.9, 0.8
    tiles = TileScores((2, 3), scores)
    track = ScoreTrack(scores.max(axis=0), Timebase(16.0, 80), tiles)
    rule = EventRule(merge_gap_s=0.5)
    return VideoResult("a.mp4", track, find_events(track, rule), rule, INFO)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ((0.0, 0.0, 1 / 3, 0.5), "top left"),
        ((1 / 3, 0.5, 2 / 3, 1.0), "bottom"),
        ((2 / 3, 1 / 3, 1.0, 2 / 3), "middle right"),
        ((1 / 3, 1 / 3, 2 / 3, 2 / 3), "centre"),
        ((0.5, 0.0, 1.0, 1.0), "right"),
        ((0.0, 0.0, 1.0, 0.5), "top"),
        ((0.0, 0.0, 1.0, 1.0), ""),
    ],
)
def test_a_place_in_words(where: Box, words: str) -> None:
    assert describe_box(where) == words


def test_a_place_in_pixels_covers_the_picture_without_gaps() -> None:
    tiles = TileScores((2, 3), np.zeros((6, 1)))
    boxes = [box_in_pixels(tiles.box(i), 361, 240) for i in range(6)]
    assert sum((r - x) * (b - y) for x, y, r, b in boxes) == 361 * 240


def test_an_event_says_where_it_is_oddest() -> None:
    first, second = tiled_result().events
    assert first.where == (2 / 3, 0.0, 1.0, 0.5)
    assert second.where == (0.0, 0.5, 1 / 3, 1.0)


def test_every_frame_has_its_oddest_tile() -> None:
    tiles = top_tiles(tiled_result().track)
    assert tiles.shape == (80,)
    assert set(tiles[16:32]) == {2}
    assert set(tiles[48:64]) == {3}


def test_the_score_file_keeps_tiles_and_places(tmp_path: Path) -> None:
    result = tiled_result()
    write_json(result, tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["tiles"]["grid"] == [2, 3]
    again = read_json(tmp_path / "a.json")
    assert again.events == result.events
    assert again.track.tiles is not None
    np.testing.assert_array_equal(again.track.tiles.scores, result.track.tiles.scores)  # type: ignore[union-attr]
