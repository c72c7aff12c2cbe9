"""A stream gives the scores and the events of the file, whatever its frames' times are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oddframe.backbones.base import Backbone, VisualEncoder
from oddframe.backbones.engines import Runtime
from oddframe.detector import Detector
from oddframe.errors import UsageError
from oddframe.events import EventRule, find_events
from oddframe.features.spec import Features, FeatureSpec
from oddframe.stream import Stream, StreamScorer, StreamUpdate
from oddframe.timeline import ScoreTrack
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.cutter import CutSnippet, SnippetCutter
from tests.conftest import Image
from tests.test_modelfile import made_model

# A snippet's feature is its mean brightness, and its score, too.
GREY = FeatureSpec(
    backbone="grey", weights_sha256="", dim=1, crops=("full",), resize=(4, 4), crop_size=(4, 4),
    filter="bicubic", snippet_frames=4, stride=4,
)  # fmt: skip
BRIGHTNESS = Backbone(
    "grey",
    (1,),
    "",
    Runtime("torch", "cpu", "float32"),
    (VisualEncoder(lambda x: x.mean((1, 2, 3, 4))[:, None].astype(np.float32) / 255, 1),),
)


class Brightness:
    """A model whose score is the only number of a feature."""

    def scores_alone(self) -> bool:
        return True

    def score(self, features: Features) -> ScoreTrack:
        array = np.asarray(features.array[0, :, 0], np.float64)
        return ScoreTrack(array, features.timebase, boxes=features.boxes)


def stream_of(spec: FeatureSpec, rule: EventRule, **more: int) -> Stream:
    return Stream(Brightness(), spec, BRIGHTNESS, rule, fps=20.0, **more)  # type: ignore[arg-type]


def push_all(
    stream: Stream, frames: Sequence[Image], times: Sequence[float] | None = None
) -> list[StreamUpdate]:
    """All updates of frames, and those at the end."""
    found = []
    for i, frame in enumerate(frames):
        found += stream.push(frame, None if times is None else times[i])
    return found + stream.finish()


def final_events(updates: Sequence[StreamUpdate]) -> list[tuple[float, float]]:
    """Start and end of the events, each of which begins, perhaps changes, and ends."""
    kinds: dict[int, str] = {}
    for each in updates:
        if each.kind != "score":
            assert (each.kind == "new") == (each.id not in kinds)
            assert kinds.get(each.id) != "end"
            kinds[each.id] = each.kind
    assert sorted(kinds) == list(range(1, len(kinds) + 1))
    assert set(kinds.values()) <= {"end"}
    return [(each.start_s, each.end_s) for each in updates if each.kind == "end"]


levels = st.lists(
    st.tuples(st.sampled_from([0, 60, 120, 180, 240]), st.integers(1, 5)), min_size=1, max_size=20
)


@settings(max_examples=100)
@given(
    levels,
    st.sampled_from([(4, 4), (4, 2), (4, 8)]),
    st.sampled_from([None, 10.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.sampled_from([6, 300]),
    st.integers(0, 2),
)
# A bridge between two runs of scores that only the end of the stream so far makes.
@example([(180, 3), (60, 2), (180, 2), (0, 1)], (4, 4), None, 1.0, 0.0, 300, 0)
def test_events_are_those_of_the_whole_video(
    parts: list[tuple[int, int]],
    sampling: tuple[int, int],
    rate: float | None,
    smooth_s: float,
    gap_s: float,
    window: int,
    look_ahead: int,
) -> None:
    frames = [
        np.full((6, 8, 3), level, np.uint8) for level, count in parts for _ in range(4 * count)
    ]
    spec = replace(GREY, snippet_frames=sampling[0], stride=sampling[1], rate=rate)
    rule = EventRule(0.6, 0.4, smooth_s, 0.0, gap_s)
    updates = push_all(stream_of(spec, rule, window=window, look_ahead=look_ahead), frames)
    scores = np.array([each.score for each in updates if each.kind == "score"])
    base = spec.timebase(20.0, len(frames))
    assert len(scores) == base.n_snippets
    # The frames of a stream are the ticks, so its events are, too.
    ticks = replace(base, fps=rate or 20.0, n_frames=base.n_ticks, rate=None)
    whole = [(e.start_s, e.end_s) for e in find_events(ScoreTrack(scores, ticks), rule)]
    if window > 100:
        assert final_events(updates) == [pytest.approx(each, abs=1e-9) for each in whole]
    else:  # At the start of a short window the mean is over fewer frames.
        found = final_events(updates)
        assert all(one[1] <= other[0] + 1e-9 for one, other in pairwise(found))
        assert bool(found) == bool(whole)


def test_a_clip_gives_the_scores_and_events_of_its_file(clip: Path) -> None:
    detector = Detector.load("fight", precision="float32")
    frames = [frame.image for frame in open_source(clip).frames()]
    track = detector.score(np.stack(frames), fps=25)
    stream = detector.stream(fps=25)
    updates = []
    for frame in frames:
        shown = frame.copy()
        updates += stream.push(shown)
        shown[:] = 0  # The caller may use its array again.
    early = [each.kind for each in updates]
    updates += stream.finish()
    assert early.count("score") == 3
    assert "new" in early
    scores = [each.score for each in updates if each.kind == "score"]
    np.testing.assert_allclose(scores, track.scores, atol=1e-6)
    spans = [(each.start_s, each.end_s) for each in updates if each.kind == "score"]
    np.testing.assert_allclose(spans, track.timebase.snippet_times(), atol=1e-9)
    (event,) = detector.events(track)
    (last,) = [each.after for each in updates if each.kind == "end"]
    assert last is not None
    assert last.score == pytest.approx(event.score, abs=1e-6)
    assert last.where == event.where
    assert last.boxes == event.boxes
    assert last.boxes
    assert last.heatmap == event.heatmap
    assert [each.video for each in last.similar] == [each.video for each in event.similar]
    assert last.similar
    np.testing.assert_allclose(
        (last.start_s, last.end_s), (event.start_s, event.end_s), atol=1 / 25
    )


@pytest.mark.parametrize(("method", "alone"), [("linear", True), ("ur_dmu", False)])
def test_methods_that_compare_snippets_wait_for_later_ones(method: str, alone: bool) -> None:
    model = made_model(method, spec=replace(GREY, dim=24))
    backbone = replace(BRIGHTNESS, dims=(24,))
    waiting, hasty = (
        Stream(model, replace(GREY, dim=24), backbone, EventRule(), fps=20, look_ahead=ahead)
        for ahead in (None, 0)
    )
    assert model.scores_alone() == alone
    assert waiting.latency_s - hasty.latency_s == pytest.approx(0 if alone else 8 * 4 / 20)


def test_an_event_longer_than_the_window_stays_one() -> None:
    bright, dark = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4, 3), np.uint8)
    hold = np.full((4, 4, 3), 120, np.uint8)
    frames = [dark] * 40 + [bright] * 20 + [hold] * 2000 + [dark] * 60
    stream = stream_of(GREY, EventRule(0.6, 0.4, 0.5, 0.0, 1.0), window=5)
    updates = push_all(stream, frames)
    assert final_events(updates) == [(pytest.approx(2.0), pytest.approx(103.0))]
    assert sum(each.kind == "end" for each in updates[:-1]) == 1  # Before the stream's end.


def test_memory_does_not_grow() -> None:
    stream = stream_of(replace(GREY, stride=1), EventRule(0.6, 0.4, 0.5), window=5)
    sizes = []
    for i in range(4000):
        stream.push(np.full((4, 4, 3), i % 256, np.uint8))
        if i in (2000, 3999):
            scorer, cutter = stream._scorer, stream._cutter
            held = (scorer._rows, scorer._heat, scorer._final, scorer._times._times)
            built = cutter._builder.boxes, cutter._builder.heat
            sizes.append([len(each) for each in (*held, *built, cutter._times)])
    assert sizes[0] == sizes[1]
    assert max(sizes[0]) < 100


def test_a_pause_ends_events_and_starts_anew() -> None:
    bright = np.full((4, 4, 3), 250, np.uint8)
    stream = stream_of(GREY, EventRule(0.6, 0.4))
    times = [*np.arange(20) / 20, *(60 + np.arange(20) / 20)]
    updates = push_all(stream, [bright] * 40, times)
    np.testing.assert_allclose(final_events(updates), [(0.0, 1.0), (60.0, 61.0)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda s: s.push(np.zeros((4, 4), np.uint8)), "a frame is"),
        (lambda s: [s.push(np.zeros((4, 4, 3), np.uint8), time) for time in (2, 1)], "increase"),
        (lambda _: stream_of(GREY, EventRule(), window=3, look_ahead=3), "cannot look ahead"),
        (lambda _: Detector.load("fight").stream(fps=0), "a frame rate"),
    ],
)
def test_wrong_calls_are_refused(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(stream_of(GREY, EventRule()))  # type: ignore[operator]


def test_a_stream_that_is_cut_off_ends_its_events() -> None:
    scorer = StreamScorer(Brightness(), GREY, EventRule(0.6, 0.4), fps=20.0)  # type: ignore[arg-type]
    cutter = SnippetCutter(GREY.preprocessing, 20.0)
    updates = []
    for _ in range(11):  # Two snippets, and three frames of a third.
        for cut in cutter.push(np.full((4, 4, 3), 250, np.uint8)):
            assert cut.image is not None
            updates += scorer.take(cut, BRIGHTNESS(cut.image))
    updates += scorer.take(CutSnippet((2.0,), None, is_last=True))
    assert [(each.kind, each.end_s) for each in updates[-1:]] == [("end", pytest.approx(0.4))]


def test_a_skipped_snippet_has_the_score_of_the_one_before() -> None:
    scorer = StreamScorer(Brightness(), GREY, EventRule(0.6, 0.4), fps=20.0)  # type: ignore[arg-type]
    cutter = SnippetCutter(GREY.preprocessing, 20.0)
    scores = []
    for i in range(16):
        for cut in cutter.push(np.full((4, 4, 3), 10 * i, np.uint8)):
            assert cut.image is not None
            features = BRIGHTNESS(cut.image)
            if len(scores) == 1:
                cut, features = replace(cut, image=None, is_skipped=True), None
            scores += [u.score for u in scorer.take(cut, features) if u.kind == "score"]
    assert scores == [pytest.approx(level / 255, abs=1e-3) for level in (15, 15, 95, 135)]
