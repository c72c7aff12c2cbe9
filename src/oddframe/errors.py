"""How oddframe says no: one line that names what, where and what to do, and an exit code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

# How PyTorch, OpenCV and OpenVINO say that there is no memory left.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|insufficient memory|out of memory|bad_?alloc|"
    r"failed to map segment",
    re.IGNORECASE,
)
# Share of letters that two names have in common, in order, when one is a slip of the other.
_ALIKE = 0.75


class OddframeError(Exception):
    """Something that the user can read and act on. The command line prints it without traceback."""

    exit_code = 1


class UsageError(OddframeError):
    """The command or the call itself is wrong: an unknown option, a value out of range."""

    exit_code = 2


class InputError(OddframeError):
    """An input cannot be used: a missing, damaged or unfitting file."""

    exit_code = 3


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether an exception of any library, or what it printed, means that no memory is left."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def describe_unexpected_error(error: Exception) -> str:
    """One line about an exception that is no ``OddframeError``."""
    if is_out_of_memory(error):
        return (
            "there is not enough memory; close other programs, or work on fewer videos at the same "
            "time (--jobs)"
        )
    text = " ".join(str(error).split())[:300]
    return f"a fault in oddframe: {type(error).__name__}: {text} (--debug shows where)"


def nearest_name(wrong: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``wrong`` is probably a slip of; None where none is close.

    Case and punctuation aside, close means: three quarters of the letters are the same, only one
    letter is another, or ``wrong`` is a part of the name. Less than that, short names have in
    common by accident.
    """
    asked = _letters(wrong)
    alike = {name: _likeness(asked, _letters(name)) for name in known}
    near = max(alike, key=alike.__getitem__, default=None)
    return near if near is not None and alike[near] >= _ALIKE else None


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _likeness(asked: str, name: str) -> float:
    ratio = SequenceMatcher(None, asked, name).ratio()
    others = sum(a != b for a, b in zip(asked, name, strict=False))
    one_other = len(asked) == len(name) and others == 1
    close = len(asked) > 2 and (one_other or asked in name)
    return max(ratio, _ALIKE) if close else ratio
