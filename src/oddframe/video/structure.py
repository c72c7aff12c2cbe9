"""What the outermost structure of a video file promises: an index, and a length in bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO

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


def is_cut_off(path: Path) -> bool:
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
