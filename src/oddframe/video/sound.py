"""The sound of a video: mono, at a wished rate, on the clock of the picture.

Second 0 is when the first frame is shown. Where the stamps leave a gap, there is silence; where
sound comes twice, it is heard once. Memory does not grow with the length.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from oddframe.video.container import open_container, packets_of, video_streams
from oddframe.video.frame import FrameSource

Samples = NDArray[np.float32]

# Stamps are rounded, to milliseconds in some containers: less than this is no gap.
_JITTER_S = 0.05
# A stamp that lies further back than this is a clock that was set anew.
_RESTART_S = 1.0
# A stamp further ahead than this leads past the end of the file: it is damaged.
_LEAP_S = 10.0
_SILENCE_S = 1.0  # Silence is made in pieces of this length.


@dataclass(frozen=True)
class Heard:
    """What was found of a video's sound.

    Attributes:
        there: Whether there is any.
        end_s: How far it was listened to, in seconds from the first frame: to its end, or to a
            second behind the last window.
    """

    there: bool
    end_s: float


class Sound:
    """The sound of a file, as pieces that follow each other from second 0 on.

    Args:
        path: A local file; None: there is no sound, as of a folder of pictures.
        rate: Samples a second.
    """

    def __init__(self, path: Path | None, rate: int) -> None:
        self._path = path
        self._rate = rate
        self.heard = Heard(False, 0.0)

    def pieces(self) -> Generator[Samples, None, None]:
        """Samples (n,) in [-1, 1], n at least 1, the mean of the channels; none: no sound.

        Damaged packets become silence.

        Raises:
            InputError: the file cannot be opened.
        """
        self.heard = Heard(False, 0.0)
        if self._path is None:
            return
        with open_container(self._path) as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context is None:
                return
            at = 0
            self.heard = Heard(True, 0.0)
            for piece in self._on_the_clock(container, stream):
                at += len(piece)
                self.heard = Heard(True, at / self._rate)
                yield piece

    def windows(self, ends_s: NDArray[np.float64], length: int) -> Iterator[Samples]:
        """For each end, the ``length`` samples before it; silence where there is no sound.

        Args:
            ends_s: (n,) in seconds, none earlier than the one before.
            length: Samples.
        """
        pieces = self.pieces()
        try:
            yield from self._windows(pieces, ends_s, length)
        finally:
            pieces.close()

    def _windows(
        self, pieces: Iterator[Samples], ends_s: NDArray[np.float64], length: int
    ) -> Iterator[Samples]:
        held: Samples = np.zeros(length, np.float32)  # Before second 0 there is silence.
        start, over = -length, False
        for end in np.round(ends_s * self._rate).astype(np.int64):
            waiting = [held]
            known = start + len(held)
            while known < end and not over:
                piece = next(pieces, None)
                if piece is None:
                    over = True
                else:
                    waiting.append(piece)
                    known += len(piece)
            if known < end:
                waiting.append(np.zeros(end - known, np.float32))
            held = np.concatenate(waiting)[max(0, end - length - start) :]
            start = max(start, end - length)
            yield held[:length]
        behind = start + len(held) + self._rate
        while not over and start + len(held) < behind:
            piece = next(pieces, None)
            over = piece is None
            behind -= 0 if piece is None else len(piece)

    def _on_the_clock(self, container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
        origin_s, length_s = _origin_s(container), _length_s(container)
        mono = _Mono(self._rate)
        done, shift_s = 0, 0.0
        for frame in _decoded(container, stream):
            gap_s, stamp_s = 0.0, frame.time
            if stamp_s is not None:
                at_s = stamp_s - origin_s + shift_s
                gap_s = at_s - done / self._rate
                broken = gap_s > _LEAP_S and length_s is not None and at_s > length_s + _LEAP_S
                if broken or (gap_s < -_RESTART_S and done > 0):
                    shift_s -= gap_s
                    gap_s = 0.0
            for silence in self._silence(gap_s):
                done += len(silence)
                yield silence
            samples = mono(frame)
            if gap_s < -_JITTER_S or (done == 0 and gap_s < 0):
                samples = samples[round(-gap_s * self._rate) :]
            if len(samples):
                done += len(samples)
                yield samples
        if len(rest := mono(None)):
            yield rest

    def _silence(self, gap_s: float) -> Iterator[Samples]:
        left = round(gap_s * self._rate) if gap_s > _JITTER_S else 0
        while left > 0:
            piece = min(left, round(_SILENCE_S * self._rate))
            yield np.zeros(piece, np.float32)
            left -= piece


def sound_windows(
    source: FrameSource, rate: int, ends_s: NDArray[np.float64], length: int
) -> Generator[Samples, None, Heard]:
    """The windows of a video's sound, see ``Sound.windows``, and in the end what was found of it.

    Raises:
        InputError: the file cannot be opened.
    """
    sound = Sound(source.sound_file, rate)
    yield from sound.windows(ends_s, length)
    return sound.heard


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in packets_of(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


class _Mono:
    """Brings frames of sound to one channel and one rate, whatever they change to on the way."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = self._fresh()

    def __call__(self, frame: AudioFrame | None) -> Samples:
        """(n,) samples; None for a frame gives what the resampler still holds."""
        if frame is not None:
            frame.pts = None  # The resampler would fill gaps by itself, however long.
        try:
            made = self._resampler.resample(frame)
        except (av.FFmpegError, ValueError):
            if frame is None:
                return np.zeros(0, np.float32)
            self._resampler = self._fresh()  # It is for one layout and rate of what comes in.
            made = self._resampler.resample(frame)
        # Not FFmpeg's own mixing, which makes two channels louder than their mean.
        samples = [_mean(part) for part in made]
        together = np.concatenate(samples) if samples else np.zeros(0, np.float32)
        # Sound in floating point may hold anything at all.
        return np.nan_to_num(together, nan=0.0, posinf=0.0, neginf=0.0)

    def _fresh(self) -> av.AudioResampler:
        # One plane for all channels: of more than eight planes PyAV 18 reads past the last.
        return av.AudioResampler(format="flt", rate=self._rate)


def _mean(frame: AudioFrame) -> Samples:
    """(n,) the mean of the channels of a frame in packed floats."""
    samples = frame.to_ndarray().reshape(-1, frame.layout.nb_channels)
    mean: Samples = samples.T.mean(axis=0, dtype=np.float32)
    return mean


def _origin_s(container: InputContainer) -> float:
    """When the first frame is shown, on the clock of the container."""
    for video in video_streams(container):
        if video.start_time is not None and video.time_base is not None:
            return float(video.start_time * video.time_base)
    return 0.0


def _length_s(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None
