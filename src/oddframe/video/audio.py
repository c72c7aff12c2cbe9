"""The sound of a video: mono, at a wished rate, on the clock of the picture.

Second 0 is a player's, as it is for the frames. Where the stamps leave a gap, there is silence;
where sound comes twice, it is heard once. Memory does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from oddframe.video.decoding.container import open_container, origin_s, read_packets
from oddframe.video.frame import FrameSource

Samples = NDArray[np.float32]

# Stamps are rounded, to milliseconds in some containers: less than this is no gap.
_JITTER_S = 0.05
# A stamp that lies further back than this is a clock that was set anew.
_RESTART_S = 1.0
# A stamp further ahead than this leads past the end of the file: it is damaged.
_LEAP_S = 10.0


@dataclass(frozen=True)
class AudioExtent:
    """What was found of a video's sound.

    Attributes:
        present: Whether there is any.
        end_s: How far it was listened to, on the player's clock: to its end, or to a second behind
            the last window.
    """

    present: bool
    end_s: float


class AudioReader:
    """The sound of a file, as pieces that follow each other from second 0 on.

    Args:
        path: A local file; None: there is no sound, as of a folder of pictures.
        rate: Samples a second.
    """

    def __init__(self, path: Path | None, rate: int) -> None:
        self._path = path
        self._rate = rate
        self.extent = AudioExtent(False, 0.0)

    def chunks(self) -> Generator[Samples, None, None]:
        """Samples (n,) in [-1, 1], n at least 1, the mean of the channels; none: no sound.

        Damaged packets become silence. A piece of silence takes no memory, however long it is.

        Raises:
            InputError: the file cannot be opened.
        """
        self.extent = AudioExtent(False, 0.0)
        if self._path is None:
            return
        with open_container(self._path) as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context is None:
                return
            at = 0
            self.extent = AudioExtent(True, 0.0)
            for piece in self._on_the_clock(container, stream):
                at += len(piece)
                self.extent = AudioExtent(True, at / self._rate)
                yield piece

    def windows(self, ends_s: NDArray[np.float64], length: int) -> Iterator[Samples]:
        """For each end, the ``format_duration`` samples before it; silence where there is no sound.

        Args:
            ends_s: (n,) in seconds, none earlier than the one before.
            length: Samples.
        """
        pieces = self.chunks()
        try:
            yield from self._windows(pieces, ends_s, length)
        finally:
            pieces.close()

    def _windows(
        self, chunks: Iterator[Samples], ends_s: NDArray[np.float64], length: int
    ) -> Iterator[Samples]:
        parts = deque([_silence(length)])  # Before second 0 there is silence.
        start, known, over = -length, 0, False
        for end in np.round(ends_s * self._rate).astype(np.int64).tolist():
            while known < end:
                piece = None if over else next(chunks, None)
                over = piece is None
                parts.append(_silence(end - known) if piece is None else piece)
                known += len(parts[-1])
                start += _drop(parts, end - length - start)
            start += _drop(parts, end - length - start)
            yield _first(parts, length)
        left = self._rate
        while left > 0 and not over and (piece := next(chunks, None)) is not None:
            left -= len(piece)

    def _on_the_clock(self, container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
        zero_s, length_s = origin_s(container) or 0.0, _length_s(container)
        mono = _Mono(self._rate)
        done, shift_s = 0, 0.0
        for frame in _decoded(container, stream):
            gap_s, stamp_s = 0.0, frame.time
            if stamp_s is not None:
                at_s = stamp_s - zero_s + shift_s
                gap_s = at_s - done / self._rate
                broken = gap_s > _LEAP_S and length_s is not None and at_s > length_s + _LEAP_S
                if broken or (gap_s < -_RESTART_S and done > 0):
                    shift_s -= gap_s
                    gap_s = 0.0
            if gap_s > _JITTER_S:
                silence = _silence(round(gap_s * self._rate))
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


def _silence(length: int) -> Samples:
    """(length,) zeros that share one number."""
    return np.broadcast_to(np.zeros(1, np.float32), (length,))


def _drop(parts: deque[Samples], most: int) -> int:
    """Drop up to ``most`` samples from the front of ``parts``; how many there were."""
    dropped = 0
    while parts and dropped + len(parts[0]) <= most:
        dropped += len(parts.popleft())
    if parts and dropped < most:
        parts[0] = parts[0][most - dropped :]
        dropped = most
    return dropped


def _first(parts: deque[Samples], length: int) -> Samples:
    """The first ``format_duration`` samples of ``parts``."""
    taken: list[Samples] = []
    for part in parts:
        taken.append(part[:length])
        length -= len(taken[-1])
    return np.concatenate(taken)


def audio_windows(
    source: FrameSource, rate: int, ends_s: NDArray[np.float64], length: int
) -> Generator[Samples, None, AudioExtent]:
    """The windows of a video's sound, see ``Sound.windows``, and in the end what was found of it.

    Raises:
        InputError: the file cannot be opened.
    """
    sound = AudioReader(source.audio_file, rate)
    yield from sound.windows(ends_s, length)
    return sound.extent


def _decoded(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in read_packets(container, stream):
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
            try:
                made = self._resampler.resample(frame)
            except (av.FFmpegError, ValueError):  # A layout that FFmpeg cannot mix.
                return np.zeros(0, np.float32)
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


def _length_s(container: InputContainer) -> float | None:
    return container.duration / av.time_base if container.duration else None
