"""What the outermost structure of a video file promises: an index, and a length in bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def lacks_index(path: Path) -> bool:
    """Whether a file is an MP4 or QuickTime file without a ``moov`` box, which nothing can read."""
    with path.open("rb") as file:
        if file.read(8)[4:8] != b"ftyp":
            return False
        names, _ = _boxes(file)
    return b"moov" not in names


def is_cut_off(path: Path) -> bool:
    """Whether an MP4, Matroska or AVI file is shorter than its own structure says.

    False for other formats, and where the structure leaves the length open, as live recordings do.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if start[4:8] == b"ftyp":
            _, promised = _boxes(file)
        elif start.startswith(_EBML):
            promised = _segment_end(file)
        elif start.startswith(b"RIFF"):
            promised = int.from_bytes(start[4:8], "little") + 8
        else:
            return False
        return promised > _length(file)


def _boxes(file: BinaryIO) -> tuple[set[bytes], int]:
    """Names of an MP4's outermost boxes, and where the last one ends."""
    names: set[bytes] = set()
    at, end = 0, _length(file)
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        names.add(head[4:8])
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # Zero: to the end of the file. Less: not a box.
            break
        at += size
    return names, at


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
