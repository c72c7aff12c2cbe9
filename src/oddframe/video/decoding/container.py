"""Opens local video files with FFmpeg and explains in one line why a file cannot be opened.

At the end: the outermost boxes of MP4, Matroska and AVI files, to find truncated and forged ones.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from oddframe._utils.files import describe_read_error
from oddframe.errors import InputError
from oddframe.video.decoding.clock import GAP_S, MAX_AUDIO_LEAD_S, FrameClock
from oddframe.video.frame import DEFAULT_FPS

# Formats that refer to other files or hosts, or that render text as a picture.
# fmt: off
_REFUSED_FORMATS = frozenset({
    "applehttp", "avisynth", "concat", "dash", "ffmetadata", "hls", "image2", "imf", "lavfi", "rtp",
    "rtsp", "sap", "sdp", "tty", "vapoursynth", "webm_dash_manifest",
})
# fmt: on
_FORMATS = ",".join(sorted(av.formats_available - _REFUSED_FORMATS))
# First bytes of playlists, in lower case.
_PLAYLIST_STARTS = (
    *(b"#extm3u", b"ffconcat", b"<?xml", b"<mpd", b"<asx", b"<smil", b"v=0"),
    *(b"[playlist]", b"[reference]", b"rtsptext"),
)
_PLAYLIST_MESSAGE = "a playlist or a description, not a video; name the video files themselves"
# One thread decodes small pictures faster than a backbone uses them, and conceals errors the same
# way each time. From HD on, frame threads are faster; but a truncated packet would also cost the
# last pictures of the other threads.
_HD_PIXELS = 1280 * 720
_MAX_THREADS = 4
_MAX_FPS = 1000.0
# Reading continues behind a position that cannot be read, at most this many times.
_MAX_READ_ERRORS = 16

# FFmpeg allocates about 36 bytes for each entry of an index; so many entries are always accepted.
_MAX_INDEX_ENTRIES = 1_000_000
# Beyond that, so many samples for each byte of the file: a truncated file has lost most of them.
_MAX_SAMPLES_PER_BYTE = 8

# Paths to the MP4 boxes that count the samples of a track and of a fragment.
_SAMPLE_COUNT_PATHS = (
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"),
    (b"moof", b"traf", b"trun"),
)
_SAMPLES_LISTED_FLAGS = 0xF00
_MAX_BOXES = 10_000
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"

_Stream = TypeVar("_Stream", VideoStream, AudioStream)


@dataclass(frozen=True)
class OpenVideo:
    """An open container and the stream in it that is the video."""

    container: InputContainer
    stream: VideoStream

    @property
    def fps(self) -> float:
        """Average frame rate as the container states it or FFmpeg guesses it."""
        if self._ticks_per_frame > 1 and self.stream.guessed_rate:
            return float(self.stream.guessed_rate)
        rates = [
            float(rate)
            for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate)
            if rate and 0 < rate <= _MAX_FPS
        ]
        # The average rate includes gaps in the time line. No frame is shown longer than a gap.
        plausible = [rate for rate in rates if rate >= 1 / GAP_S]
        return next(iter(plausible), 1 / GAP_S if rates else DEFAULT_FPS)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds as the container states it; None if it does not."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        if self.container.duration:
            return self.container.duration / av.time_base
        return None

    @property
    def frames(self) -> int | None:
        """Number of frames: of the index, else duration times rate, else None.

        It is at most the number of bytes of the file, whatever the index claims.
        """
        frames = None
        if self.stream.frames:
            frames = round(self.stream.frames / self._ticks_per_frame)
        elif self.duration_s:
            frames = round(self.duration_s * self.fps) or 1
        return frames and min(frames, max(1, self.container.size))

    def clock(self) -> FrameClock:
        """A clock that starts at the first frame."""
        return FrameClock(self.fps, self.duration_s, origin_s(self.container))

    def stops_early(self, end_stamp: int) -> bool:
        """Whether the last picture (it ends at ``end_stamp``) ends before the stated duration.

        False without an index of pictures.
        """
        stated_s = self.duration_s
        if not stated_s or not self.stream.frames or not self.stream.time_base:
            return False
        if self.container.duration:
            stated_s = min(stated_s, self.container.duration / av.time_base)
        shown_s = float((end_stamp - (self.stream.start_time or 0)) * self.stream.time_base)
        return shown_s < stated_s - 2 / self.fps

    @property
    def _ticks_per_frame(self) -> float:
        """Frames that the container counts for each real one; AVI files may have empty frames."""
        stated, guessed = self.stream.average_rate, self.stream.guessed_rate
        if self.container.format.name != "avi" or not stated or not guessed:
            return 1.0
        return max(1.0, float(stated / guessed))


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """Open the video stream of a local file; InputError if it has none that can be decoded."""
    with open_container(path) as container:
        stream = _video_stream(path, container)
        stream.codec_context.thread_count = 1
        if stream.width * stream.height >= _HD_PIXELS and not is_truncated(path):
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(_MAX_THREADS, os.cpu_count() or 1)
        yield OpenVideo(container, stream)


def open_container(path: Path) -> InputContainer:
    """Open a local file with any streams; InputError for network addresses and playlists."""
    check_readable(path)
    try:
        with path.open("rb") as file:
            size = _file_size(file)
            claimed = sum(_unlisted_samples(file, 0, size, names) for names in _SAMPLE_COUNT_PATHS)
    except OSError as error:
        raise InputError(f"{path}: {describe_read_error(error)}") from None
    if claimed > max(_MAX_INDEX_ENTRIES, _MAX_SAMPLES_PER_BYTE * size):
        raise InputError(f"{path}: its index claims {claimed} samples, too many for {size} bytes")
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        # With the prefix, FFmpeg does not mistake a name such as "rtp:cam.mp4" for an address.
        return av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, UnicodeError) as error:
        raise InputError(f"{path}: {_explain_failure(path, error)}") from None


def read_packets(
    container: InputContainer, stream: _Stream, on_unreadable: Callable[[], None] = lambda: None
) -> Iterator[av.Packet[_Stream]]:
    """Yield the packets of a stream; the last one is empty and flushes the decoder.

    ``on_unreadable`` is called for each position that cannot be read; reading continues behind it.
    """
    for _ in range(_MAX_READ_ERRORS):
        try:
            yield from container.demux(stream)
        except av.FFmpegError:
            on_unreadable()
        except IndexError:
            # New streams appeared while reading, as in program and transport streams or through
            # damage: PyAV raises this for them after the last packet.
            return
        else:
            return


def origin_s(container: InputContainer) -> float | None:
    """Time stamp of the player's second 0: the start of the audio or the picture, the earlier one.

    Players such as mpv count from there. Browsers do too if it is 0, as in almost all MP4 and
    Matroska files. Audio before stamp 0 (encoder delay) is not played. Audio that starts more than
    an hour before the picture has another clock and is ignored. None: no picture or no time stamp.
    """
    picture = main_video_stream(container)
    start_s = None if picture is None else _start_s(picture)
    if start_s is None:
        return None
    audio_starts = [max(0.0, s) for s in map(_start_s, container.streams.audio) if s is not None]
    return min([start_s, *(s for s in audio_starts if start_s - s <= MAX_AUDIO_LEAD_S)])


def _start_s(stream: VideoStream | AudioStream) -> float | None:
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def main_video_stream(container: InputContainer) -> VideoStream | None:
    """The stream that FFmpeg selects, unless it is a cover picture; None: no video stream."""
    attached = av.stream.Disposition.attached_pic
    videos = [s for s in container.streams.video if not s.disposition & attached]
    best = container.streams.best("video")
    same = (s for s in videos if best is not None and s.index == best.index)
    return next(same, videos[0] if videos else None)


def check_readable(path: Path) -> None:
    """Check that a path is a readable file that is not empty; InputError says what it is."""
    try:
        found = path.exists()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not found and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InputError(f"{path}: only local files are read; save the video to a file first")
    if path.is_symlink() and not found:
        raise InputError(f"{path}: a symbolic link that leads nowhere")
    if not found:
        raise InputError(f"{path}: no such file or folder")
    if not path.is_file():
        raise InputError(f"{path}: neither a file nor a folder")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes)")


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    stream = main_video_stream(container)
    if stream is None:
        if _is_playlist(path):  # FFmpeg opens some of them as subtitles.
            raise InputError(f"{path}: {_PLAYLIST_MESSAGE}")
        content = "only sound" if container.streams.audio else "nothing that FFmpeg can decode"
        raise InputError(f"{path}: no video stream in it, {content}")
    if stream.codec_context is None:
        raise InputError(f"{path}: this FFmpeg has no decoder for its video")
    return stream


def _explain_failure(path: Path, error: Exception) -> str:
    if _is_playlist(path):
        return _PLAYLIST_MESSAGE
    if _lacks_index(path):
        return (
            "an MP4 without its index (no moov box): the file was cut off, or its recording "
            "never finished; copy it again from where it came, or repair it"
        )
    if isinstance(error, av.error.EOFError):
        return "it ends before its first picture: it was cut off, or nothing was recorded"
    if isinstance(error, av.error.InvalidDataError | av.error.ArgumentError):
        return "not a video that FFmpeg can read"
    return f"FFmpeg cannot read it ({getattr(error, 'strerror', None) or error})"


def _is_playlist(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(64).lower()
    return start.lstrip(b"\xef\xbb\xbf \r\n").startswith(_PLAYLIST_STARTS)


def _lacks_index(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(8)[4:8] != b"ftyp":
            return False
        return all(name != b"moov" for name, _, _ in _boxes(file, 0, _file_size(file)))


def is_truncated(path: Path) -> bool:
    """Whether an MP4, Matroska or AVI file is shorter than it states, if it states a length."""
    with path.open("rb") as file:
        start = file.read(8)
        if start[4:8] == b"ftyp":
            stated_end = max((end for *_, end in _boxes(file, 0, _file_size(file))), default=0)
        elif start.startswith(_EBML):
            stated_end = _segment_end(file)
        elif start.startswith(b"RIFF"):
            stated_end = int.from_bytes(start[4:8], "little") + 8
        else:
            return False
        return stated_end > _file_size(file)


def _unlisted_samples(file: BinaryIO, at: int, end: int, names: Sequence[bytes]) -> int:
    """Number of samples that the MP4 boxes at the path ``names`` claim without listing them.

    FFmpeg allocates an index of that length when it opens or reads the file.
    """
    claimed = 0
    for name, body, after in itertools.islice(_boxes(file, at, end), _MAX_BOXES):
        if name != names[0]:
            continue
        if len(names) > 1:
            claimed += _unlisted_samples(file, body, min(after, end), names[1:])
            continue
        file.seek(body)
        flags, first, second = (int.from_bytes(file.read(4), "big") for _ in range(3))
        if name == b"stsz":  # One size for all samples, 0 if sizes are listed; then the count.
            claimed += second if first else 0
        else:  # The count; flags tell what is listed for each sample.
            claimed += 0 if flags & _SAMPLES_LISTED_FLAGS else first
    return claimed


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start of the content and stated end of each MP4 box from ``at`` on."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        if size < 8:  # 0: the box extends to the end. Below 8: not a box.
            yield head[4:8], start, end if size == 0 else at
            return
        at += size
        yield head[4:8], start, at


def _segment_end(file: BinaryIO) -> int:
    """Where a Matroska file's segment ends; 0 if the file does not state it."""
    file.seek(len(_EBML))
    file.seek(_vint(file), os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size = _vint(file)
    return file.tell() + size if size else 0


def _vint(file: BinaryIO) -> int:
    """Read an EBML number of variable length; 0 for the value that means unknown."""
    first = file.read(1)[0] if file.tell() < _file_size(file) else 0
    width = 9 - first.bit_length()
    value = (first & (0xFF >> width)) << 8 * (width - 1) | int.from_bytes(
        file.read(width - 1), "big"
    )
    return 0 if value == (1 << 7 * width) - 1 else value


def _file_size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
