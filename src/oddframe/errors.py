"""How oddframe says no: one line that names what, where and what to do, and an exit code."""

from __future__ import annotations


class OddframeError(Exception):
    """Something that the user can read and act on. The command line prints it without traceback."""

    exit_code = 1


class UsageError(OddframeError):
    """The command or the call itself is wrong: an unknown option, a value out of range."""

    exit_code = 2


class InputError(OddframeError):
    """An input cannot be used: a missing, damaged or unfitting file."""

    exit_code = 3
