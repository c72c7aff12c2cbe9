"""Videos that oddframe wrote itself, and that are none to look at: annotated ones, previews."""

from __future__ import annotations

from pathlib import Path

from oddframe.errors import InputError
from oddframe.video.container import open_container

# In the comment of every video that shows what was found in another one.
MARK = "oddframe wrote this to show what it found; it is no recording"
_ENDINGS = ("annotated.mp4", "preview.mp4", "preview.webm")


def is_own(path: Path) -> bool:
    """Whether a file is an annotated video or a preview, by its mark; only those have such names.

    What cannot be read is not.
    """
    if not path.name.endswith(_ENDINGS) or path.is_dir():
        return False
    try:
        with open_container(path) as container:
            # Matroska writes keys in capitals.
            found = {key.lower(): value for key, value in container.metadata.items()}
    except InputError:
        return False
    return found.get("comment") == MARK
