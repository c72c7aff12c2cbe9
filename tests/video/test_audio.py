"""Audio samples are at the right time on the clock of the frames, also in damaged files."""

from __future__ import annotations

import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.video import audio as sound
from oddframe.video.audio import AudioExtent, AudioReader
from oddframe.video.decoding.reader import VideoFile
from tests.conftest import Image, flip_bits, keep_part
from tests.sounds import tone, with_sound

RATE = 16_000


def read_audio(path: Path | None, rate: int = RATE) -> NDArray[np.float32]:
    chunks = list(AudioReader(path, rate).chunks())
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)


@pytest.fixture
def frames(clip_frames: list[Image]) -> list[Image]:
    return [np.ascontiguousarray(frame[:64, :64]) for frame in clip_frames]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_audio_is_resampled_to_the_given_rate(
    rate: int, tmp_path: Path, frames: list[Image]
) -> None:
    path = with_sound(tmp_path / "v.mkv", frames, [tone(2, rate=rate)], rate=rate)
    samples = read_audio(path)
    assert len(samples) == pytest.approx(2 * RATE, abs=2)
    inner = slice(1000, -1000)
    assert np.abs(samples - tone(2, rate=RATE)[: len(samples)])[inner].max() < 0.01
    assert len(read_audio(path, 44_100)) == pytest.approx(88_200, abs=6)


def test_two_channels_are_averaged(tmp_path: Path, frames: list[Image]) -> None:
    path = with_sound(tmp_path / "v.mkv", frames, [tone(2), np.zeros_like(tone(2))])
    assert np.abs(read_audio(path) - tone(2, rate=RATE) / 2)[1000:-1000].max() < 0.01


def test_second_0_is_that_of_the_frames(tmp_path: Path, frames: list[Image]) -> None:
    silent = np.zeros(RATE // 2, np.float32)
    late = read_audio(with_sound(tmp_path / "late.mkv", frames, [tone(1)], sound_at_s=0.5))
    assert not late[: len(silent) - 200].any()
    assert np.abs(late[len(silent) :] - tone(1, rate=RATE))[1000:-1000].max() < 0.02
    # The audio starts first, at second 0.
    path = with_sound(tmp_path / "early.mkv", frames, [tone(2)], picture_at_s=0.75)
    assert next(VideoFile(path).frames()).time_s == pytest.approx(0.75)
    early = read_audio(path)
    assert len(early) == pytest.approx(2 * RATE, abs=0.06 * RATE)
    assert np.abs(early - tone(2, rate=RATE)[-len(early) :])[1000:-1000].max() < 0.02


def test_a_gap_is_filled_with_silence(tmp_path: Path, frames: list[Image]) -> None:
    samples = read_audio(with_sound(tmp_path / "v.mkv", frames, [tone(2)], gap=(1.0, 0.7)))
    assert len(samples) == pytest.approx(2.7 * RATE, abs=0.06 * RATE)
    assert not samples[round(1.05 * RATE) : round(1.65 * RATE)].any()
    assert samples[: RATE - 500].std() == pytest.approx(0.283, abs=0.01)
    assert samples[round(1.75 * RATE) :].std() == pytest.approx(0.283, abs=0.01)


@pytest.mark.parametrize(
    ("late", "length_s"),
    [
        ([0.0] * 50 + [-0.5] * 50, 1.5),  # Half a second is repeated.
        ([0.0] * 50 + [-100.0] * 50, 2.0),  # The clock was reset.
        ([0.0] * 50 + [5000.0] + [0.0] * 49, 2.0),  # One damaged stamp.
        ([0.0] * 50 + [5000.0] * 50, 2.0),  # All later stamps are damaged.
        ([0.0, 0.03] * 50, 2.0),  # Rounded stamps.
    ],
)
def test_invalid_stamps_lose_no_audio_and_add_no_silence(
    late: list[float],
    length_s: float,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def frames(*_: object):
        for number, by in enumerate(late):
            part = tone(2)[number * 960 : (number + 1) * 960]
            frame = av.AudioFrame.from_ndarray(part[None], "flt", "mono")
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            frame.pts = round((number * 0.02 + by) * 48_000)
            yield frame

    monkeypatch.setattr(sound, "_decode", frames)
    samples = read_audio(clip)
    assert len(samples) == pytest.approx(length_s * RATE, abs=0.06 * RATE)
    assert samples[: RATE - 500].std() == pytest.approx(0.283, abs=0.01)
    assert samples[RATE + 500 :].std() == pytest.approx(0.283, abs=0.01)


def test_rate_and_channels_may_change_within_a_file(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames(*_: object):
        for start_s, rate, layout in ((0, 48_000, "mono"), (1, 32_000, "stereo")):
            samples = np.stack([tone(1, rate=rate)] * (1 if layout == "mono" else 2))
            frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            frame.pts = start_s * rate
            yield frame

    monkeypatch.setattr(sound, "_decode", frames)
    samples = read_audio(clip)
    assert len(samples) == pytest.approx(2 * RATE, abs=0.01 * RATE)
    for second in (samples[500 : RATE - 500], samples[RATE + 500 : -500]):
        assert second.std() == pytest.approx(0.283, abs=0.01)


def test_real_clips_with_and_without_audio(clip: Path, normal_clip: Path) -> None:
    real = AudioReader(clip, RATE)
    length = sum(map(len, real.chunks()))
    assert real.extent == AudioExtent(True, length / RATE)
    assert length / RATE == pytest.approx(2.02, abs=0.03)
    for silent in (normal_clip, None):
        none = AudioReader(silent, RATE)
        assert list(none.chunks()) == []
        assert none.extent == AudioExtent(False, 0.0)
        (window,) = none.windows(np.array([1.0]), 100)
        assert window.shape == (100,)
        assert not window.any()


@settings(max_examples=40)
@given(
    chunks=st.lists(st.integers(1, 40), max_size=12),
    ends=st.lists(st.integers(0, 250), min_size=1, max_size=8).map(sorted),
    length=st.integers(1, 60),
)
def test_windows_are_the_samples_before_each_end(
    chunks: list[int], ends: list[int], length: int
) -> None:
    whole = np.arange(1, sum(chunks) + 1, dtype=np.float32)
    cuts = np.split(whole, np.cumsum(chunks)[:-1]) if chunks else []

    class FixedChunks(AudioReader):
        def chunks(self):
            yield from cuts

    windows = list(FixedChunks(None, 100).windows(np.array(ends) / 100, length))
    padded = np.concatenate([np.zeros(length, np.float32), whole, np.zeros(400, np.float32)])
    assert len(windows) == len(ends)
    for end, window in zip(ends, windows, strict=True):
        assert np.array_equal(window, padded[end : end + length])


def test_damaged_packets_become_silence(tmp_path: Path, frames: list[Image]) -> None:
    path = with_sound(tmp_path / "v.mp4", frames * 4, [tone(8)], codec="aac")
    whole = read_audio(path)
    samples = read_audio(flip_bits(path, 60))
    assert len(samples) == pytest.approx(len(whole), abs=0.1 * RATE)
    assert np.isfinite(samples).all()
    cut = with_sound(tmp_path / "cut.mkv", frames * 4, [tone(8)])
    assert 2 * RATE < len(read_audio(keep_part(cut, 0.5))) < 7 * RATE


def test_files_with_audio_only_or_nothing(bad_video: Callable[[str], Path], tmp_path: Path) -> None:
    assert len(read_audio(bad_video("audio_only"))) == pytest.approx(RATE, abs=2)
    with pytest.raises(InputError, match="not a video"):
        read_audio(bad_video("text"))


@pytest.mark.parametrize("channels", [6, 16, 35])
def test_any_number_of_channels_is_averaged(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "many.wav"
    levels = np.arange(channels) * 500
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, 16_000, 0, "NONE", "NONE"))
        file.writeframes(np.tile(levels.astype("<i2"), (16_000, 1)).tobytes())
    samples = read_audio(path)
    assert len(samples) == RATE
    np.testing.assert_allclose(samples, levels.mean() / 32_768, atol=1e-6)


def test_samples_that_are_not_finite_become_silence(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    bad = np.array([0.5, np.nan, np.inf, -np.inf] * 400, "<f4").tobytes()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(bad, "<f4")[None], "flt", "mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])
    samples = read_audio(path)
    assert np.isfinite(samples).all()
    assert samples.any()


def test_memory_is_bounded_by_the_window(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "NONE"))
        file.writeframes(np.ones(RATE * 200, np.int16).tobytes())
    tracemalloc.start()
    for _ in AudioReader(path, RATE).windows(np.arange(0.64, 200, 0.64), 15_600):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6, "all of it is 13 MB"
