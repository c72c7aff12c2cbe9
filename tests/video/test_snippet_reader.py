from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.errors import InputError, UsageError
from oddframe.timeline import Timebase
from oddframe.video.decoding.clock import GAP_S
from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.decoding.reader import VideoFile
from oddframe.video.frame import Frame, FrameSource, FrameTransform
from oddframe.video.mask import Mask
from oddframe.video.snippets.preprocessing import AUDIO_ONLY, Preprocessing, crop_names, cut_crop
from oddframe.video.snippets.reader import MultiSnippetReader, iterate_in_thread
from tests.conftest import Image, encode
from tests.snippets import SnippetReader


class Numbered(FrameSource):
    """A source whose frame ``i`` is one pixel with the value ``i``, shown at ``times[i]``."""

    name = "numbered"

    def __init__(self, fps: float, times: list[float]) -> None:
        self.fps, self.times, self.made = fps, times, 0
        self.expected_frames = len(times)

    def read(self, transforms: Sequence[FrameTransform]) -> Iterator[tuple[Frame, ...]]:
        last = self.times[0]
        for number, time_s in enumerate(self.times):
            after_gap = time_s - last > GAP_S
            yield tuple(
                Frame(lambda n=number: self.image(n), time_s, after_gap) for _ in transforms
            )
            last = time_s

    def image(self, number: int) -> Image:
        self.made += 1
        return np.array([[[number >> 16, number >> 8 & 255, number & 255]]], np.uint8)


def numbers(snippets: list[Image]) -> list[list[int]]:
    pixels = [snippet.reshape(-1, 3).astype(int) for snippet in snippets]
    return [(p @ [65536, 256, 1]).tolist() for p in pixels]


def naive(timebase: Timebase) -> list[list[int]]:
    """Frame numbers of each snippet, by the definition."""
    shown = timebase.tick_frames()
    segment = np.searchsorted(timebase.gaps, shown, side="right")
    last = [int(np.flatnonzero(segment == part)[-1]) for part in range(len(timebase.gaps) + 1)]
    return [
        [int(shown[min(start + j, last[segment[start]])]) for j in range(timebase.snippet_frames)]
        for start in timebase.snippet_ticks()[:, 0]
    ]


def pixel(**preprocessing) -> Preprocessing:
    return Preprocessing(resize=(1, 1), crop_size=(1, 1), crops=("full",), **preprocessing)


@settings(deadline=None, max_examples=150)
@given(
    n=st.integers(1, 120),
    fps=st.sampled_from([5.0, 24000 / 1001, 25.0, 29.97, 30.0, 60.0]),
    snippet_frames=st.sampled_from([1, 4, 16]),
    stride=st.integers(1, 40),
    rate=st.none() | st.sampled_from([3.0, 12.5, 15.0, 25.0, 29.97, 30.0, 50.0]),
    gaps=st.none() | st.randoms(use_true_random=False),
    start_s=st.sampled_from([0.0, 2.5]),
    leap_s=st.sampled_from([0.1, 2.0, 40_000.0]),
)
def test_snippets_match_the_timebase(
    n: int,
    fps: float,
    snippet_frames: int,
    stride: int,
    rate: float | None,
    gaps,
    start_s: float,
    leap_s: float,
) -> None:
    if gaps is None:
        times = [start_s + i / fps for i in range(n)]
    else:
        steps = [gaps.choice([0.001, 0.02, 1 / 30, 0.04, 0.5, leap_s]) for _ in range(n)]
        times = np.cumsum(steps).tolist()
        times = [time_s - times[0] + start_s for time_s in times]
    preprocessing = pixel(snippet_frames=snippet_frames, stride=stride, rate=rate)
    reader = SnippetReader(Numbered(fps, times), preprocessing)
    found = numbers(list(reader))
    timebase = reader.timebase
    assert np.array_equal(timebase.frame_times, times)
    assert len(timebase.gaps) == int((np.diff(times) > GAP_S).sum())
    assert found == naive(timebase)
    assert (timebase.snippet_frames, timebase.stride, timebase.rate) == (
        snippet_frames,
        stride,
        rate,
    )


def test_only_a_variable_rate_needs_time_stamps() -> None:
    reader = SnippetReader(Numbered(25, [i / 25 for i in range(40)]), pixel())
    assert reader.expected_snippets == len(list(reader)) == 3
    assert reader.timebase.pts is None
    reader = SnippetReader(Numbered(25, [0, 0.1, 0.5]), pixel())
    list(reader)
    assert reader.timebase.pts is not None
    assert reader.timebase.fps == pytest.approx(4)


def test_time_and_memory_do_not_depend_on_the_claimed_length(monkeypatch) -> None:
    made = []
    init = Timebase.__post_init__
    monkeypatch.setattr(Timebase, "__post_init__", lambda base: made.append(base) or init(base))
    counts, peaks = [], []
    for claimed in (800, 10**9):
        source = Numbered(25, [i / 25 for i in range(800)])
        source.expected_frames = claimed
        reader = SnippetReader(source, pixel(rate=25.0))
        tracemalloc.start()
        for _ in reader:
            assert reader.expected_snippets == claimed // 16
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        counts.append(len(made))
        made.clear()
    assert counts == [2, 2]  # One of the claimed length, one of the real length.
    assert peaks[1] < 2 * peaks[0] + 100_000


def test_frames_that_no_snippet_contains_are_not_converted() -> None:
    fast = Numbered(60, [i / 60 for i in range(600)])
    list(SnippetReader(fast, pixel(rate=10.0)))
    assert fast.made == 100
    sparse = Numbered(25, [i / 25 for i in range(640)])
    list(SnippetReader(sparse, pixel(stride=64)))
    assert sparse.made == 160


def test_a_real_clip_cropped(clip: Path, clip_frames: list[Image]) -> None:
    preprocessing = Preprocessing(filter="lanczos", crops=crop_names(10))
    reader = SnippetReader(open_source(clip), preprocessing)
    snippets = list(reader)
    assert [snippet.shape for snippet in snippets] == [(10, 16, 224, 224, 3)] * 4
    frames = np.stack([f.image for f in open_source(clip).frames((340, 256), "lanczos")])
    for number, name in enumerate(preprocessing.crops):
        assert np.array_equal(snippets[1][number], cut_crop(frames[16:32], name, (224, 224)))
    tail = frames[[48, 49] + [49] * 14]
    assert np.array_equal(snippets[3][0], cut_crop(tail, "center", (224, 224)))


def test_a_video_at_another_rate(tmp_path: Path, clip_frames: list[Image]) -> None:
    path = encode(tmp_path / "v.mkv", clip_frames * 2, fps=50)
    reader = SnippetReader(open_source(path), Preprocessing(filter="bicubic", rate=25.0))
    snippets = np.concatenate([snippet[0] for snippet in reader])
    frames = [frame.image for frame in open_source(path).frames((340, 256))]
    assert reader.timebase.pts is None
    for tick in range(50):
        assert np.array_equal(
            snippets[tick], cut_crop(frames[tick * 2][None], "center", (224, 224))[0]
        )


@pytest.mark.parametrize(("kind", "count"), [("one_frame", 1), ("fifteen_frames", 15)])
def test_a_short_video_is_one_snippet(
    bad_video: Callable[[str], Path], kind: str, count: int
) -> None:
    reader = SnippetReader(open_source(bad_video(kind)), Preprocessing())
    (snippet,) = reader
    assert reader.timebase.n_frames == count
    assert all(np.array_equal(snippet[0, i], snippet[0, -1]) for i in range(count - 1, 16))


def test_a_damaged_video_is_read_to_its_end(bad_video: Callable[[str], Path]) -> None:
    reader = SnippetReader(open_source(bad_video("cut_mp4")), Preprocessing())
    assert len(list(reader)) == 2
    assert reader.source.damaged_packets == 32
    with pytest.raises(InputError, match="no picture could be decoded"):
        list(SnippetReader(open_source(bad_video("no_pictures")), Preprocessing()))


def test_several_preprocessings_in_one_pass(clip: Path, monkeypatch) -> None:
    preprocessings = [
        Preprocessing(filter="lanczos", crops=crop_names(10)),
        Preprocessing(filter="lanczos", crops=crop_names(5, "extractor"), stride=8),
        Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full",)),
        Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(48, 48), rate=10.0),
        Preprocessing().without_picture(),
    ]
    opened = []
    decode = VideoFile._decode
    monkeypatch.setattr(VideoFile, "_decode", lambda *a: opened.append(a) or decode(*a))
    reading = MultiSnippetReader(open_in_process(clip), preprocessings)
    together: list[list[Image]] = [[] for _ in preprocessings]
    for which, snippet in reading:
        together[which].append(snippet)
    assert len(opened) == 1
    assert reading.expected_snippets == sum(map(len, together))
    for preprocessing, snippets, timebase in zip(
        preprocessings, together, reading.timebases, strict=True
    ):
        alone = SnippetReader(open_source(clip), preprocessing)
        for ours, theirs in zip(snippets, alone, strict=True):
            assert np.array_equal(ours, theirs)
        assert timebase == alone.timebase
        assert (
            not snippets
            if preprocessing.crops == AUDIO_ONLY
            else len(snippets) == timebase.n_snippets
        )


def test_preprocessings_of_the_same_size_share_the_frames() -> None:
    source = Numbered(25, [i / 25 for i in range(64)])
    for _ in MultiSnippetReader(source, [pixel(), pixel(stride=8), pixel(rate=5.0)]):
        pass
    assert source.made == 64


def test_masked_parts_are_grey(clip: Path) -> None:
    mask = Mask(np.array([[True, False]]))
    preprocessing = Preprocessing(
        resize=(224, 224), crops=("full", "full_mirrored"), filter="bicubic"
    )
    plain, masked = (list(SnippetReader(open_source(clip), preprocessing, m)) for m in (None, mask))
    for before, after in zip(plain, masked, strict=True):
        assert (after[0, :, :, :112] == 128).all()
        assert (after[1, :, :, 112:] == 128).all()
        assert np.array_equal(after[0, :, :, 112:], before[0, :, :, 112:])


def test_the_timebase_is_not_known_before_the_end(clip: Path) -> None:
    reader = SnippetReader(open_source(clip), Preprocessing())
    snippets = iter(reader)
    next(snippets)
    with pytest.raises(RuntimeError, match="all snippets"):
        _ = reader.timebase
    snippets.close()


def test_crops_that_do_not_fit_are_refused_before_reading(clip: Path) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        SnippetReader(open_source(clip), Preprocessing(resize=(100, 100)))


def test_memory_does_not_grow_with_the_video() -> None:
    def peak(n: int) -> int:
        gc.collect()
        tracemalloc.start()
        for _ in SnippetReader(Numbered(25, [i / 25 for i in range(n)]), pixel()):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    short, long = peak(1_000), peak(20_000)
    # The reader and the test keep time stamps, but no pictures.
    assert (long - short) / 19_000 < 100


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "oddframe-decoder"]


def test_iterate_in_thread_keeps_the_order() -> None:
    assert list(iterate_in_thread((i for i in range(500)), 3)) == list(range(500))
    assert list(iterate_in_thread((i for i in ()), 3)) == []
    assert not decoders()


def test_iterate_in_thread_works_ahead_up_to_its_depth() -> None:
    made = []
    third = threading.Event()

    def work() -> Generator[int, None, None]:
        for i in range(100):
            made.append(i)
            if i == 3:
                third.set()
            yield i

    items = iterate_in_thread(work(), 3)
    assert next(items) == 0
    assert third.wait(10)  # Three more items were made ahead.
    assert len(made) <= 1 + 3 + 1
    items.close()


def test_iterate_in_thread_raises_an_error_after_the_earlier_items() -> None:
    def work() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    items = iterate_in_thread(work(), 4)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert not decoders()


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_stopping_early_ends_the_thread_and_closes_the_generator(error) -> None:
    closed = threading.Event()

    def work() -> Generator[int, None, None]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    items = iterate_in_thread(work(), 2)
    next(items)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            items.throw(KeyboardInterrupt)
    else:
        items.close()
    assert closed.is_set()
    assert not decoders()
