"""The videos that a command line means, without those that oddframe wrote itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oddframe.cli.console import print_note, printable
from oddframe.errors import InputError
from oddframe.video.discover import find_videos, is_generated


def recordings(texts: Sequence[str], *, quiet: bool) -> list[Path]:
    """What ``find_videos`` finds; annotated videos and previews are left out, and that is said.

    Raises:
        InputError: there is nothing else.
    """
    found = find_videos(texts)
    own = [path for path in found if is_generated(path)]
    if not own:
        return found
    more = f" and {len(own) - 1} more" if len(own) > 1 else ""
    line = f"{own[0]}{more}: written by oddframe itself"
    if len(own) == len(found):
        raise InputError(f"{line}; name the videos that it was made of")
    print_note(f"left out: {printable(line)}", quiet=quiet)
    return [path for path in found if path not in own]
