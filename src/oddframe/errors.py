"""How oddframe says no: one line that names what, where and what to do, and an exit code."""

from __future__ import annotations

import re

# How PyTorch, OpenCV and OpenVINO say that there is no memory left.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|insufficient memory|out of memory|bad_?alloc",
    re.IGNORECASE,
)


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


def described_fault(error: Exception) -> str:
    """One line about an exception that is no ``OddframeError``."""
    if is_out_of_memory(error):
        return (
            "there is not enough memory; close other programs, or work on fewer videos at the same "
            "time (--jobs)"
        )
    return f"a fault in oddframe: {type(error).__name__}: {error} (--debug shows where)"
