"""Messages as lines of a file, for people who tail it and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import BinaryIO

from oddframe._utils.files import check_regular, make_folder, translate_os_errors
from oddframe.watch.delivery import Sink
from oddframe.watch.messages import Message

_MAX_TORN_BYTES = 2**18  # More than a message has.


class JsonlSink(Sink):
    """Appends each message to a file, once, also after a crash.

    The file is opened for each message, so logrotate and others may move it away at any time.

    Raises:
        InputError: the path is no regular file.
        OddframeError: its folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"file {path}"
        self._path = path
        make_folder(path.parent)
        if path.exists():
            check_regular(path)

    def send(self, message: Message) -> None:
        """Append a line and wait until it is on disk."""
        line = json.dumps(message.to_json(), allow_nan=False).encode() + b"\n"
        with translate_os_errors(self._path), self._path.open("a+b") as file:
            end = _cut_torn_line(file)
            file.seek(max(end - len(line), 0))
            # A process that was killed between writing and noting it left this very line.
            if file.read() == line:
                return
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), end)
                raise


def _cut_torn_line(file: BinaryIO) -> int:
    """Remove a line that a killed process left half written; return the file's size."""
    size = file.seek(0, os.SEEK_END)
    start = max(size - _MAX_TORN_BYTES, 0)
    file.seek(start)
    tail = file.read()
    end = start + tail.rfind(b"\n") + 1
    if end < size and (end > start or start == 0):
        file.truncate(end)
        return end
    return size
