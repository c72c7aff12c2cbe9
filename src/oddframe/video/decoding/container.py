"""Opens video files with FFmpeg, local ones only, and says in one line why one will not open.

What the outermost structure of a video file promises: an index, and a length in bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from oddframe.errors import InputError
from oddframe.video.decoding.clock import GAP_S, LONGEST_LEAD_S
from oddframe.video.frame import DEFAULT_FPS

# The ways to the boxes in which an MP4 file counts its samples, of a track and of a fragment.
_TO_COUNTS = (
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"),
    (b"moof", b"traf", b"trun"),
)
_LISTED_IN_RUN = 0xF00
_MOST_BOXES = 10_000
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def lacks_index(path: Path) -> bool:
    """Whether a file is an MP4 or QuickTime file without a ``moov`` box, which nothing can read."""
    with path.open("rb") as file:
        if file.read(8)[4:8] != b"ftyp":
            return False
        return all(name != b"moov" for name, _, _ in _boxes(file, 0, _length(file)))


def is_truncated(path: Path) -> bool:
    """Whether an MP4, Matroska or AVI file is shorter than its own structure says.

    False for other formats, and where the structure leaves the length open, as live recordings do.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if start[4:8] == b"ftyp":
            promised = max((end for *_, end in _boxes(file, 0, _length(file))), default=0)
        elif start.startswith(_EBML):
            promised = _segment_end(file)
        elif start.startswith(b"RIFF"):
            promised = int.from_bytes(start[4:8], "little") + 8
        else:
            return False
        return promised > _length(file)


def claimed_samples(path: Path) -> int:
    """How many samples an MP4 or QuickTime file claims without listing them.

    FFmpeg allocates an index of that length when it opens or reads the file. 0: they are listed, or
    it is no such file. Only the first boxes of a file are looked at, thousands of fragments.
    """
    with path.open("rb") as file:
        end = _length(file)
        return sum(n for way in _TO_COUNTS for n in _unlisted(file, 0, end, way))


def _unlisted(file: BinaryIO, at: int, end: int, names: Sequence[bytes]) -> Iterator[int]:
    """Samples that the boxes at the end of the way ``names`` claim and do not list."""
    for name, body, after in islice(_boxes(file, at, end), _MOST_BOXES):
        if name != names[0]:
            continue
        if len(names) > 1:
            yield from _unlisted(file, body, min(after, end), names[1:])
            continue
        file.seek(body)
        flags, first, second = (int.from_bytes(file.read(4), "big") for _ in range(3))
        if name == b"stsz":  # One size for all, 0 if listed; then the count.
            yield second if first else 0
        else:  # The count; flags say what is listed of each.
            yield 0 if flags & _LISTED_IN_RUN else first


def _boxes(file: BinaryIO, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and promised end of each of the MP4 boxes from ``at`` on."""
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        if size < 8:  # Zero: to the end. Less: not a box.
            yield head[4:8], start, end if size == 0 else at
            return
        at += size
        yield head[4:8], start, at


def _segment_end(file: BinaryIO) -> int:
    """Where a Matroska file's segment ends; 0 where it does not say."""
    file.seek(len(_EBML))
    file.seek(_vint(file), os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    size = _vint(file)
    return file.tell() + size if size else 0


def _vint(file: BinaryIO) -> int:
    """An EBML number of variable length; 0 for the one that means unknown."""
    first = file.read(1)[0] if file.tell() < _length(file) else 0
    width = 9 - first.bit_length()
    value = (first & (0xFF >> width)) << 8 * (width - 1) | int.from_bytes(
        file.read(width - 1), "big"
    )
    return 0 if value == (1 << 7 * width) - 1 else value


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


# Formats that name other files or hosts to read, or that draw text as a picture.
# fmt: off
_REFUSED_FORMATS = frozenset({
    "applehttp", "avisynth", "concat", "dash", "ffmetadata", "hls", "image2", "imf", "lavfi", "rtp",
    "rtsp", "sap", "sdp", "tty", "vapoursynth", "webm_dash_manifest",
})
# fmt: on
# In small letters.
_PLAYLIST_STARTS = (
    *(b"#extm3u", b"ffconcat", b"<?xml", b"<mpd", b"<asx", b"<smil", b"v=0"),
    *(b"[playlist]", b"[reference]", b"rtsptext"),
)
_A_PLAYLIST = "a playlist or a description, not a video; name the video files themselves"
# One thread decodes small pictures far faster than anything looks at them, and mends damage the
# same way each time. From HD on, frame threads pay; but a packet that is cut off would take the
# last pictures of the other threads with it.
_HD_PIXELS = 1280 * 720
_MOST_THREADS = 4
_HIGHEST_FPS = 1000.0
# Reading goes on behind a place that cannot be read, but not for ever at the same place.
_MOST_READ_ERRORS = 16

# FFmpeg takes about 36 bytes an entry of an index, which is nothing up to here. A sample takes at
# least a byte; a file that was cut off may have lost most of them.
_INDEX_ENTRIES = 1_000_000
_SAMPLES_A_BYTE = 8

_Stream = TypeVar("_Stream", VideoStream, AudioStream)


@dataclass(frozen=True)
class OpenVideo:
    """An open container and the stream in it that is the video."""

    container: InputContainer
    stream: VideoStream

    @property
    def codec(self) -> str:
        """Name of the codec, such as ``h264``."""
        return str(self.stream.codec.canonical_name)

    @property
    def fps(self) -> float:
        """Average frame rate as the container states or FFmpeg guesses it."""
        if self._ticks > 1 and self.stream.guessed_rate:
            return float(self.stream.guessed_rate)
        rates = [
            float(rate)
            for rate in (self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate)
            if rate and 0 < rate <= _HIGHEST_FPS
        ]
        # The average counts the gaps in the time line as frames. No frame lasts longer than a gap.
        dense = [rate for rate in rates if rate >= 1 / GAP_S]
        return next(iter(dense), 1 / GAP_S if rates else DEFAULT_FPS)

    @property
    def duration_s(self) -> float | None:
        """Length in seconds as the container states it, None where it does not."""
        if self.stream.duration and self.stream.time_base:
            return float(self.stream.duration * self.stream.time_base)
        if self.container.duration:
            return self.container.duration / av.time_base
        return None

    @property
    def frames(self) -> int | None:
        """Number of frames: the index's, else duration times rate, else None.

        At most as many as the file has bytes, whatever its index claims.
        """
        frames = None
        if self.stream.frames:
            frames = round(self.stream.frames / self._ticks)
        elif self.duration_s:
            frames = round(self.duration_s * self.fps) or 1
        return frames and min(frames, max(1, self.container.size))

    @property
    def origin_s(self) -> float | None:
        """Second 0 of a player, as a time stamp of the container; None where it has none."""
        return origin_s(self.container)

    def stops_early(self, end_stamp: int) -> bool:
        """Whether a stream whose last picture is over at a time stamp is not all that was promised.

        Only where there is an index that counts the pictures.
        """
        promised = self.duration_s
        if not promised or not self.stream.frames or not self.stream.time_base:
            return False
        if self.container.duration:
            promised = min(promised, self.container.duration / av.time_base)
        shown = float((end_stamp - (self.stream.start_time or 0)) * self.stream.time_base)
        return shown < promised - 2 / self.fps

    @property
    def _ticks(self) -> float:
        """Of the container in a frame, where it counts ticks for frames: AVI has empty ones."""
        stated, guessed = self.stream.average_rate, self.stream.guessed_rate
        if self.container.format.name != "avi" or not stated or not guessed:
            return 1.0
        return max(1.0, float(stated / guessed))


@contextmanager
def open_video(path: Path) -> Iterator[OpenVideo]:
    """Open a local video file; no network protocol, no playlist, no cover picture.

    Raises:
        InputError: there is no such file, or no video that can be decoded in it.
    """
    with open_container(path) as container:
        stream = _video_stream(path, container)
        stream.codec_context.thread_count = 1
        if stream.width * stream.height >= _HD_PIXELS and not is_truncated(path):
            stream.thread_type = "AUTO"
            stream.codec_context.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
        yield OpenVideo(container, stream)


def open_container(path: Path) -> InputContainer:
    """Open a local file, whatever streams are in it; no network protocol, no playlist.

    Raises:
        InputError: there is no such file, or FFmpeg cannot read it.
    """
    check_readable(path)
    try:
        claimed, size = claimed_samples(path), path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    if claimed > max(_INDEX_ENTRIES, _SAMPLES_A_BYTE * size):
        raise InputError(f"{path}: its index claims {claimed} samples, too many for {size} bytes")
    options = {"protocol_whitelist": "file", "format_whitelist": _formats()}
    try:
        # The prefix keeps FFmpeg from taking a name such as "rtp:cam.mp4" for an address.
        return av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace")
    except (av.FFmpegError, UnicodeError) as error:
        raise InputError(f"{path}: {_why_not(path, error)}") from None


def read_packets(
    container: InputContainer, stream: _Stream, on_unreadable: Callable[[], None] = lambda: None
) -> Iterator[av.Packet[_Stream]]:
    """The packets of a stream, the last one an empty one.

    Args:
        container: The file.
        stream: In it.
        on_unreadable: Is called for a place that cannot be read; it goes on behind that.
    """
    for _ in range(_MOST_READ_ERRORS):
        try:
            yield from container.demux(stream)
        except av.FFmpegError:
            on_unreadable()
        except IndexError:
            # Other streams appeared on the way, as they do in program and transport streams, and
            # wherever damage makes them up: PyAV falls over them behind the last packet.
            return
        else:
            return


def origin_s(container: InputContainer) -> float | None:
    """Second 0 of a player, as a time stamp: when the sound or the picture starts, what is earlier.

    Players such as mpv count from there. Browsers do, too, where that is at 0, as it is in almost
    all MP4 and Matroska files. What an encoder of sound puts before 0 is not played. Sound that
    starts more than an hour before the picture has another clock and does not count. None: there
    is no picture, or no time stamp.
    """
    picture = main_video_stream(container)
    start_s = None if picture is None else _start_s(picture)
    if start_s is None:
        return None
    sounds = [max(0.0, s) for s in map(_start_s, container.streams.audio) if s is not None]
    return min([start_s, *(s for s in sounds if start_s - s <= LONGEST_LEAD_S)])


def _start_s(stream: VideoStream | AudioStream) -> float | None:
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def main_video_stream(container: InputContainer) -> VideoStream | None:
    """The stream that is the video, the best by FFmpeg that is no cover; None: there is none."""
    videos, best = video_streams(container), container.streams.best("video")
    same = (s for s in videos if best is not None and s.index == best.index)
    return next(same, videos[0] if videos else None)


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The streams that are videos, not cover pictures."""
    attached = av.stream.Disposition.attached_pic
    return [s for s in container.streams.video if not s.disposition & attached]


def check_readable(path: Path) -> None:
    """Say no, with the reason, to what is not a readable file with something in it.

    Raises:
        InputError: always with the path and the reason.
    """
    try:
        found = path.exists()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if not found and re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise InputError(f"{path}: only local files are read; save the video to a file first")
    if not found:
        broken = path.is_symlink()
        what = "a symbolic link that leads nowhere" if broken else "no such file or folder"
        raise InputError(f"{path}: {what}")
    if not path.is_file():
        raise InputError(f"{path}: neither a file nor a folder")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path}: no permission to read it")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty (0 bytes)")


@cache
def _formats() -> str:
    return ",".join(sorted(av.formats_available - _REFUSED_FORMATS))


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    stream = main_video_stream(container)
    if stream is None:
        if _is_playlist(path):  # FFmpeg takes some of them for subtitles.
            raise InputError(f"{path}: {_A_PLAYLIST}")
        has = "only sound" if container.streams.audio else "nothing that FFmpeg can decode"
        raise InputError(f"{path}: no video stream in it, {has}")
    if stream.codec_context is None:
        raise InputError(f"{path}: this FFmpeg has no decoder for its video")
    return stream


def _why_not(path: Path, error: Exception) -> str:
    if _is_playlist(path):
        return _A_PLAYLIST
    if lacks_index(path):
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
