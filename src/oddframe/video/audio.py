"""Reads the audio of a video: mono, at a given sampling rate, on the same clock as the frames.

Second 0 is the player's, as it is for the frames. Gaps between time stamps are filled with silence;
where packets overlap, the samples are used once. Memory does not grow with the length.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
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

# Some containers round time stamps to milliseconds: a difference below this is not a gap.
_JITTER_S = 0.05
# A time stamp that is further back than this means that the clock was reset.
_RESTART_S = 1.0
# A time stamp further ahead than this that is also past the end of the file is damaged.
_LEAP_S = 10.0


@dataclass(frozen=True)
class AudioExtent:
    """How much audio a video has."""

    present: bool
    # How far the audio was read, on the player's clock: to its end, or to a second after the last
    # window.
    end_s: float


class AudioReader:
    """Reads the audio of a file as consecutive chunks or windows of samples, from second 0 on.

    ``path`` is None for a video without audio, such as a folder of pictures.
    """

    def __init__(self, path: Path | None, rate: int) -> None:
        self._path, self._rate = path, rate
        self.extent = AudioExtent(False, 0.0)  # What was found so far.

    def chunks(self) -> Generator[Samples, None, None]:
        """Yield chunks of samples (n,) in [-1, 1], n >= 1, the mean of the channels.

        Damaged packets become silence. A chunk of silence takes no memory, however long it is.
        """
        self.extent = AudioExtent(False, 0.0)
        if self._path is None:
            return
        with open_container(self._path) as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context is None:
                return
            n_samples = 0
            self.extent = AudioExtent(True, 0.0)
            for chunk in self._fill_gaps(container, stream):
                n_samples += len(chunk)
                self.extent = AudioExtent(True, n_samples / self._rate)
                yield chunk

    def windows(self, ends_s: NDArray[np.float64], length: int) -> Iterator[Samples]:
        """For each end (s, not decreasing), yield the ``length`` samples before it.

        They are silence where there is no audio.
        """
        buffer = deque([_silence(length)])  # Before second 0 there is silence.
        start, read, finished = -length, 0, False  # Sample numbers: the buffer's start, its end.
        with closing(self.chunks()) as chunks:
            for end in np.round(ends_s * self._rate).astype(np.int64).tolist():
                while read < end:
                    chunk = None if finished else next(chunks, None)
                    finished = chunk is None
                    buffer.append(_silence(end - read) if chunk is None else chunk)
                    read += len(buffer[-1])
                    start += _drop_samples(buffer, end - length - start)
                start += _drop_samples(buffer, end - length - start)
                yield _first_samples(buffer, length)
            # Read one more second, so that ``extent`` tells whether audio follows the last window.
            left = self._rate
            while left > 0 and not finished and (chunk := next(chunks, None)) is not None:
                left -= len(chunk)

    def _fill_gaps(self, container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
        """Yield samples and silence so that each sample has the time of its stamp."""
        zero_s = origin_s(container) or 0.0
        length_s = container.duration / av.time_base if container.duration else None
        mono = _MonoResampler(self._rate)
        n_samples, shift_s = 0, 0.0
        for frame in _decode(container, stream):
            gap_s, stamp_s = 0.0, frame.time
            if stamp_s is not None:
                time_s = stamp_s - zero_s + shift_s
                gap_s = time_s - n_samples / self._rate
                past_end = length_s is not None and time_s > length_s + _LEAP_S
                if (past_end and gap_s > _LEAP_S) or (gap_s < -_RESTART_S and n_samples > 0):
                    shift_s -= gap_s
                    gap_s = 0.0
            if gap_s > _JITTER_S:
                silence = _silence(round(gap_s * self._rate))
                n_samples += len(silence)
                yield silence
            samples = mono.convert(frame)
            if gap_s < -_JITTER_S or (n_samples == 0 and gap_s < 0):
                samples = samples[round(-gap_s * self._rate) :]
            if len(samples):
                n_samples += len(samples)
                yield samples
        if len(rest := mono.convert(None)):
            yield rest


def _silence(length: int) -> Samples:
    """(length,) zeros that share the memory of one number."""
    return np.broadcast_to(np.zeros(1, np.float32), (length,))


def _drop_samples(buffer: deque[Samples], count: int) -> int:
    """Drop up to ``count`` samples from the front; return how many were dropped."""
    dropped = 0
    while buffer and dropped + len(buffer[0]) <= count:
        dropped += len(buffer.popleft())
    if buffer and dropped < count:
        buffer[0] = buffer[0][count - dropped :]
        dropped = count
    return dropped


def _first_samples(buffer: deque[Samples], length: int) -> Samples:
    chunks: list[Samples] = []
    for chunk in buffer:
        chunks.append(chunk[:length])
        length -= len(chunks[-1])
    return np.concatenate(chunks)


def audio_windows(
    source: FrameSource, rate: int, ends_s: NDArray[np.float64], length: int
) -> Generator[Samples, None, AudioExtent]:
    """Yield the windows of a video's audio, see ``AudioReader.windows``; return its extent."""
    audio = AudioReader(source.audio_file, rate)
    yield from audio.windows(ends_s, length)
    return audio.extent


def _decode(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in read_packets(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


class _MonoResampler:
    """Converts audio frames to one channel and one rate; the input format may change."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler = self._new_resampler()

    def convert(self, frame: AudioFrame | None) -> Samples:
        """(n,) samples of a frame; of None, the samples that the resampler still holds."""
        if frame is not None:
            # Otherwise the resampler fills gaps itself, with any amount of memory.
            frame.pts = None
        resampled: list[AudioFrame] = []
        for _ in range(1 if frame is None else 2):
            try:
                resampled = self._resampler.resample(frame)
                break
            except (av.FFmpegError, ValueError):
                # A resampler accepts one input layout and rate; some layouts FFmpeg cannot mix.
                self._resampler = self._new_resampler()
        # FFmpeg's own mixing makes two channels louder than their mean.
        means = [
            each.to_ndarray().reshape(-1, each.layout.nb_channels).T.mean(axis=0, dtype=np.float32)
            for each in resampled
        ]
        samples = np.concatenate(means) if means else np.zeros(0, np.float32)
        # Floating-point audio may contain NaN and infinity.
        return np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)

    def _new_resampler(self) -> av.AudioResampler:
        # A packed format: PyAV 18 reads past the end of frames with more than eight planes.
        return av.AudioResampler(format="flt", rate=self._rate)
