"""Videos that oddframe wrote itself, and that are none to look at: annotated ones, previews."""

from __future__ import annotations

from pathlib import Path

from oddframe.errors import InputError
from oddframe.video.container import check_file

# In the comment of every video that shows what was found in another one.
MARK = "oddframe wrote this to show what it found; it is no recording"
_ENDINGS = ("annotated.mp4", "preview.mp4", "preview.webm")
_BLOCK = 2**20  # Bytes; the comment is written before the pictures.


def is_own(path: Path) -> bool:
    """Whether a file is an annotated video or a preview, by its mark; only those have such names.

    False for a file that cannot be read. No decoder is used here: untrusted files are decoded in
    a child process only.
    """
    if not path.name.endswith(_ENDINGS):
        return False
    mark, read = MARK.encode(), b""
    try:
        check_file(path)
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                read = read[-len(mark) :] + block
                if mark in read:
                    return True
    except (InputError, OSError):
        pass
    return False
