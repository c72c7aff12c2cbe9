"""Where an event is: from the frames to heat maps and boxes, and into the files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from oddframe import Detector, write
from oddframe.errors import InputError
from oddframe.events import EventRule, find_events
from oddframe.features.formats.feature_file import read_features, write_features
from oddframe.heatmap import MAX_BOXES, find_boxes
from oddframe.outputs.drawing import draw_boxes, draw_heat
from oddframe.outputs.score_files import read_score_file
from oddframe.timeline import ScoreTrack, Timebase
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.heat import HEAT_COLUMNS, HEAT_ROWS, HEAT_SHAPE, find_heat
from oddframe.video.snippets.motion import find_changes
from oddframe.video.snippets.preprocessing import Preprocessing
from oddframe.video.snippets.reader import MultiSnippetReader
from tests.video.test_motion import planted, scene

MAPS = arrays.arrays(
    np.float64, (6, 8), elements=st.floats(0, 1, allow_subnormal=False).map(lambda x: round(x, 2))
)


@given(MAPS)
def test_boxes_are_around_the_hottest_places(heatmap: np.ndarray) -> None:
    boxes = find_boxes(heatmap)
    assert len(boxes) <= MAX_BOXES
    assert bool(boxes) == bool(heatmap.any())
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
    if boxes:
        left, top, right, bottom = boxes[0]
        hottest = np.argwhere(heatmap == heatmap.max())
        centres = (hottest + 0.5) / heatmap.shape
        inside = (centres > [top, left]) & (centres < [bottom, right])
        assert inside.all(axis=1).any()
        np.testing.assert_array_equal(boxes, find_boxes(heatmap / 2))


def test_places_apart_have_boxes_apart() -> None:
    heatmap = np.zeros((18, 24))
    heatmap[3:6, 3:6], heatmap[12:14, 18:22] = 1.0, 0.8
    first, second = find_boxes(heatmap)
    np.testing.assert_allclose(first, (3 / 24, 3 / 18, 6 / 24, 6 / 18), atol=1 / 24)
    np.testing.assert_allclose(second, (18 / 24, 12 / 18, 22 / 24, 14 / 18), atol=1 / 24)


def track_of(heat: np.ndarray, boxes: np.ndarray | None = None) -> ScoreTrack:
    timebase = Timebase(25.0, 16 * len(heat))
    return ScoreTrack(np.full(len(heat), 0.9), timebase, boxes=boxes, heat=heat)


def test_maps_are_mixed_between_the_middles_of_the_parts_of_snippets() -> None:
    heat = np.zeros((2, 2, 2, 2), np.uint8)
    for number, cell in enumerate(heat.reshape(4, 4)):
        cell[number] = 255
    track = track_of(heat)
    middles = np.array([4, 12, 20, 28]) / 25
    np.testing.assert_allclose(track.part_times(0, 2), middles)
    for number, time_s in enumerate(middles):
        np.testing.assert_array_equal(track.heatmap(time_s), heat.reshape(4, 2, 2)[number] / 255)
    quarter = track.heatmap(6 / 25).ravel()
    np.testing.assert_allclose(quarter, [1, 1 / 3, 0, 0])  # The hottest cell is 1.
    np.testing.assert_array_equal(track.heatmap(-5), heat[0, 0] / 255)
    np.testing.assert_array_equal(track.heatmap(99), heat[1, 1] / 255)


def test_what_the_model_did_not_look_at_is_cold() -> None:
    heat = np.full((1, 2, 4, 4), 255, np.uint8)
    track = track_of(heat, np.array([[0.0, 0.5, 0.5, 1.0]]))
    (event,) = find_events(track, EventRule(0.5))
    assert track.heatmap(0.3).sum() == 4
    assert event.where == (0.0, 0.5, 0.5, 1.0)
    assert len(event.boxes) == 1
    assert event.boxes[0][1] >= 0.4
    assert event.boxes[0][2] <= 0.6


@settings(deadline=None, max_examples=20)
@given(across=st.floats(0, 1), down=st.floats(0, 1), seed=st.integers(0, 5))
def test_what_moves_is_hot(across: float, down: float, seed: int) -> None:
    frames, (left, top, right, bottom) = planted(120, 160, across, down, 0.15, seed)
    heat = find_heat(find_changes(frames))
    assert heat.shape == HEAT_SHAPE
    for part in heat:
        assert part.max() == 255
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        assert left - 1 / HEAT_COLUMNS <= (column + 0.5) / HEAT_COLUMNS <= right + 1 / HEAT_COLUMNS
        assert top - 1 / HEAT_ROWS <= (row + 0.5) / HEAT_ROWS <= bottom + 1 / HEAT_ROWS


def test_where_nothing_moves_nothing_is_hot() -> None:
    for count in (1, 2, 16):
        assert not find_heat(find_changes([scene(120, 160)] * count)).any()
    tiny = np.zeros((16, 4, 4, 3), np.uint8)
    tiny[::2] = 255
    assert find_heat(find_changes(list(tiny))).shape == HEAT_SHAPE
    frames, _ = planted(120, 160, 0.2, 0.2, 0.2)
    assert find_heat(find_changes(frames[:2])).any(axis=(1, 2)).all()  # One change for both parts.


def test_a_sign_over_a_shaking_picture_is_cold() -> None:
    still, frames = scene(150, 230, 3), []
    for number in range(16):
        frame = np.roll(still, (number % 2) * 6, axis=1)
        frame[:24, :60] = 0
        cv2.putText(frame, "LIVE", (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2)
        frame[90:120, 140 + 3 * number : 160 + 3 * number] = (number % 3) * 90
        frames.append(frame)
    heat = find_heat(find_changes(frames))
    for part in heat:
        row, column = np.unravel_index(int(part.argmax()), part.shape)
        assert row > HEAT_ROWS / 2
        assert column > HEAT_COLUMNS / 2


def test_changes_leave_the_grey_frames_as_they_are() -> None:
    """``cv2.phaseCorrelate`` multiplies frames of some sizes, as 96x144, by a window, in place."""
    frames, _ = planted(240, 360, 0.4, 0.4, 0.2)
    grey = find_changes(frames).grey
    assert grey.shape[1:] == (96, 144)
    assert grey[:, :3, :3].mean() == pytest.approx(np.mean([f[:8, :8] for f in frames]), abs=15)


def test_models_of_the_whole_picture_have_heat_too(clip: Path) -> None:
    how = Preprocessing(resize=(32, 32), filter="bicubic", crop_size=(32, 32), crops=("full",))
    with_heat = MultiSnippetReader(open_source(clip), [how], heat=True)
    without = MultiSnippetReader(open_source(clip), [how])
    for (_, ours), (_, theirs) in zip(with_heat, without, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    (heat,) = with_heat.heat
    assert without.heat == (None,)
    assert heat is not None
    assert heat.shape == (4, *HEAT_SHAPE)
    # People fight in the left half; squashed frames of 32x32 would be too small to see it.
    assert heat[:3, :, :, : HEAT_COLUMNS // 2].sum() > 0.6 * heat[:3].sum()


def test_a_fight_says_where(clip: Path, tmp_path: Path) -> None:
    detector = Detector.load("fight")
    features = detector.features(clip).features
    track = detector.score(features)
    (event,) = detector.events(track)
    assert event.where is not None
    assert 1 <= len(event.boxes) <= MAX_BOXES
    left, top, right, bottom = event.boxes[0]
    assert 0.1 < left < right < 0.5
    assert 0.2 < top < bottom < 0.85
    assert event.heatmap is not None
    assert np.shape(event.heatmap) == (HEAT_ROWS, HEAT_COLUMNS)
    assert all(event.start_s <= time_s < event.end_s for time_s, _ in event.boxes_at)

    result = detector.result(str(clip), track)
    written = write(result, ["json", "html", "mp4"], tmp_path, "a")
    assert all(path.stat().st_size for path in written)
    assert "at its peak, " in (tmp_path / "a.html").read_text()
    again = read_score_file(tmp_path / "a.json").result
    assert again.events == result.events
    with pytest.raises(InputError, match="no heat map"):
        again.track.heatmap(0.5)

    write_features(tmp_path / "a.safetensors", features)
    from_file = detector.score(read_features(tmp_path / "a.safetensors"))
    assert from_file.heat is None
    (plain,) = detector.events(from_file)
    assert plain == replace(event, boxes=(), heatmap=None, boxes_at=())


def test_a_track_takes_heat_of_its_own_snippets_only() -> None:
    with pytest.raises(InputError, match="heat of shape"):
        ScoreTrack(np.zeros(2), Timebase(25.0, 32), heat=np.zeros((3, 2, 4, 4), np.uint8))


def test_damaged_boxes_and_maps_in_a_score_file_are_refused(clip: Path, tmp_path: Path) -> None:
    heat = np.full((4, 2, 4, 4), 255, np.uint8)
    detector = Detector.load("fight")
    track = ScoreTrack(np.full(4, 0.95), Timebase(25.0, 50), heat=heat)
    write(detector.result(str(clip), track), ["json"], tmp_path, "a")
    text = (tmp_path / "a.json").read_text()
    for old, new in (
        ('"boxes": [[0.0, 0.0', '"boxes": [[-5, 0.0'),
        ('"boxes": [[0.0, 0.0', '"boxes": [[NaN, 0.0'),
        ('"heatmap": [[1.0', '"heatmap": [[7'),
        ('"heatmap": [[1.0, ', '"heatmap": [['),
    ):
        assert old in text
        (tmp_path / "b.json").write_text(text.replace(old, new))
        with pytest.raises(InputError, match=r"b\.json"):
            read_score_file(tmp_path / "b.json")


def test_heat_tints_and_boxes_mark_a_picture() -> None:
    picture = np.full((90, 120, 3), 100, np.uint8)
    heatmap = np.zeros((18, 24))
    heatmap[9:, :12] = 1
    draw_heat(picture, heatmap)
    assert (picture[:30, 90:] == 100).all()
    assert (picture[60:, :40].mean(axis=(0, 1)) > 150).any()
    draw_boxes(picture, [(0.5, 0.5, 1.0, 1.0)], (255, 0, 0), 2)
    assert (picture[45, 80] == (255, 0, 0)).all()
