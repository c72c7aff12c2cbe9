"""The journal: messages in files, durable before anybody hears of them, bounded on disk.

A folder of segments, ``journal-NUMBER.jsonl``. The first line of a segment has the events that are
open when it starts, so that the last segment alone tells which are open now; each other line is a
message. What a killed process left of a last line is cut off.
"""

from __future__ import annotations

import bisect
import json
import os
import re
import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from oddframe._utils.files import atomic_write, make_folder, translate_os_errors
from oddframe._utils.parsing import parse_json
from oddframe.watch.messages import CameraEvent, Message, from_json

_SEGMENT = re.compile(r"journal-(\d{12})\.jsonl")
_MAX_LINE = 2**17  # Bytes of a message.
_MAX_OPEN = 500  # Open events that are remembered; a camera has one or two.
_MAX_HEAD = _MAX_OPEN * _MAX_LINE
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
_PARTS = 8  # Segments that the journal may have.


class Journal:
    """Messages by number, from ``first`` to ``last``; the oldest are dropped beyond ``max_bytes``.

    Only one process may have a journal open. Messages are read with ``JournalReader``.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self._segment_bytes = max(max_bytes // _PARTS, 1)
        self._lock = threading.Lock()
        self._open: dict[str, CameraEvent] = {}
        self.last = 0
        make_folder(folder)
        with translate_os_errors(folder):
            names = [_SEGMENT.fullmatch(path.name) for path in folder.iterdir()]
        self._firsts = sorted(int(name[1]) for name in names if name)
        self._file: int | None = None
        while self._firsts and not self._recover(self._firsts[-1]):
            self._path(self._firsts.pop()).unlink()  # Without its first line it says nothing.
        if not self._firsts:
            self._start_segment()

    @property
    def first(self) -> int:
        """Number of the oldest message that is kept, or of the next one if there is none."""
        with self._lock:
            return self._firsts[0]

    def append(self, message: Message) -> Message:
        """Write a message, wait until it is on disk, and return it with its number.

        Raises:
            OddframeError: it cannot be written; the journal is as it was before.
            ValueError: a field is much too long, or the journal is closed.
        """
        with self._lock:
            message = replace(message, number=self.last + 1, announced=datetime.now(UTC))
            line = _to_line(message.to_json())
            if len(line) > _MAX_LINE or _read_line(line) is None:
                raise ValueError("a message that could not be read again: a text is too long")
            if self._needs_segment(len(line)):
                self._start_segment()
            with translate_os_errors(self._path(self._firsts[-1])):
                self._write(line)
            self.last = message.number
            self._note(message)
            return message

    def open_events(self) -> list[CameraEvent]:
        """The last message of each event that has no ``end`` yet, in order of announcement."""
        with self._lock:
            return self._open_by_number()

    def drop_before(self, number: int) -> None:
        """Remove segments whose messages all have smaller numbers; the newest one stays."""
        with self._lock:
            while len(self._firsts) > 1 and self._firsts[1] <= number:
                self._remove_oldest()

    def segment_of(self, number: int) -> tuple[int, Path] | None:
        """The first number and the path of the segment that has a message; None: there is none."""
        with self._lock:
            if number > self.last:
                return None
            place = max(bisect.bisect_right(self._firsts, number) - 1, 0)
            return self._firsts[place], self._path(self._firsts[place])

    def after_segment(self, first: int) -> int:
        """Number of the first message behind the segment that starts with ``first``."""
        with self._lock:
            place = bisect.bisect_right(self._firsts, first)
            return self._firsts[place] if place < len(self._firsts) else self.last + 1

    def close(self) -> None:
        """Close the file; nothing can be appended any more."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _path(self, first: int) -> Path:
        return self.folder / f"journal-{first:012d}.jsonl"

    def _note(self, message: Message) -> None:
        if isinstance(message, CameraEvent):
            self._open.pop(message.id, None)
            if message.kind != "end":
                self._open[message.id] = message
                if len(self._open) > _MAX_OPEN:
                    del self._open[next(iter(self._open))]

    def _needs_segment(self, n_bytes: int) -> bool:
        if self._file is None:
            raise ValueError("the journal is closed")
        if os.fstat(self._file).st_nlink == 0:  # Somebody has removed the files.
            return True
        return self.last >= self._firsts[-1] and self._size + n_bytes > self._segment_bytes

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def _start_segment(self) -> None:
        """Start a segment behind the last message, and drop the oldest if there are too many."""
        first = self.last + 1
        path = self._path(first)
        head = {"open": [event.to_json() for event in self._open_by_number()], "next": first}
        with translate_os_errors(path):
            with atomic_write(path) as part:
                part.write_bytes(_to_line(head))
            sync_folder(self.folder)
            old, self._file = self._file, os.open(path, _APPEND)
            if old is not None:
                os.close(old)
        self._size = path.stat().st_size
        if self._firsts[-1:] != [first]:
            self._firsts.append(first)
        while len(self._firsts) > _PARTS:
            self._remove_oldest()

    def _open_by_number(self) -> list[CameraEvent]:
        return sorted(self._open.values(), key=lambda event: event.number)

    def _remove_oldest(self) -> None:
        with suppress(OSError):  # It stays on disk, and is removed after the next start.
            self._path(self._firsts.pop(0)).unlink(missing_ok=True)

    def _recover(self, first: int) -> bool:
        """Read the newest segment and cut off a torn last line; False: it has no valid start."""
        path = self._path(first)
        with translate_os_errors(path), path.open("rb") as file:
            head = file.readline(_MAX_HEAD)
            try:
                found = parse_json(head) if head.endswith(b"\n") else None
                events = [from_json(each) for each in found["open"]] if found else None
            except (ValueError, KeyError, TypeError):
                events = None
            if events is None:
                return False
            self.last = first - 1
            for event in events:
                self._note(event)
            good = file.tell()
            while line := file.readline(_MAX_LINE):
                message = _read_line(line)
                if message is not None:
                    self.last = max(self.last, message.number)
                    self._note(message)
                if line.endswith(b"\n"):
                    good = file.tell()
        with translate_os_errors(path):
            self._file = os.open(path, _APPEND)
            if path.stat().st_size > good:
                os.ftruncate(self._file, good)
                os.fsync(self._file)
        self._size = good
        return True


class JournalReader:
    """Reads a journal's messages in order of their numbers; remembers where it stopped.

    The file is opened for each message: a line that could not be written whole is cut off and
    written anew, which buffers of an open file would not see.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._first = self._next = self._offset = 0

    def read(self, number: int) -> Message | None:
        """The message with this number, or else the next that is there; None: there is none yet."""
        while (segment := self._journal.segment_of(number)) is not None:
            first, path = segment
            if self._first != first or number < self._next:
                self._first, self._next, self._offset = first, first, 0
            end = self._journal.after_segment(first)
            with suppress(FileNotFoundError):  # It was dropped just now.
                if (message := self._read_segment(path, number, end)) is not None:
                    return message
            number = max(number, end)
        return None

    def _read_segment(self, path: Path, number: int, end: int) -> Message | None:
        """Read on from the offset up to ``end``: behind it, a line may be half written."""
        with path.open("rb") as file:
            if self._offset == 0:
                file.readline(_MAX_HEAD)
            else:
                file.seek(self._offset)
            while self._next < end and (line := file.readline(_MAX_LINE)):
                self._offset = file.tell()
                message = _read_line(line)
                if message is not None:
                    self._next = message.number + 1
                    if message.number >= number:
                        return message
        return None


def _read_line(line: bytes) -> Message | None:
    try:
        return from_json(parse_json(line)) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _to_line(data: object) -> bytes:
    return json.dumps(data, allow_nan=False).encode() + b"\n"


def sync_folder(folder: Path) -> None:
    """Make the names of new files durable; systems without folder descriptors do it themselves."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
