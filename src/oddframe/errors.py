"""Exceptions for the user, each with a one-line message and an exit code of the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from difflib import SequenceMatcher
from importlib.util import find_spec

INSTALL_TORCH = "pip install 'oddframe[train]'"

# Messages of PyTorch, OpenCV, OpenVINO and Python's threads when memory is exhausted.
_OUT_OF_MEMORY = re.compile(
    r"can't allocate memory|cannot allocate memory|insufficient memory|out of memory|bad_?alloc|"
    r"failed to map segment|can't start new thread",
    re.IGNORECASE,
)
# Names with at least this similarity (``SequenceMatcher.ratio``) are taken for typing errors.
_MIN_SIMILARITY = 0.75


class OddframeError(Exception):
    """An error that the user can fix; the command line prints its message without a traceback."""

    exit_code = 1


class UsageError(OddframeError):
    """The command or call is wrong: an unknown option, a value out of range."""

    exit_code = 2


class MissingPackageError(UsageError):
    """What was asked for needs a package that is not installed."""


class InputError(OddframeError):
    """An input cannot be used: a file is missing, damaged or of the wrong kind."""

    exit_code = 3


def has_torch() -> bool:
    """Whether PyTorch, which scoring does not need, is installed; does not import it."""
    if "torch" in sys.modules:
        return sys.modules["torch"] is not None
    return find_spec("torch") is not None


def torch_needed(what: str) -> MissingPackageError:
    """The error of ``what`` needs PyTorch, to be raised."""
    return MissingPackageError(f"{what} needs PyTorch: {INSTALL_TORCH}")


def is_out_of_memory(error: BaseException | str) -> bool:
    """Whether an exception of any library, or its output, means that memory is exhausted."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def describe_unexpected_error(error: Exception) -> str:
    """Describe an exception that is not an ``OddframeError`` in one line."""
    if is_out_of_memory(error):
        return (
            "there is not enough memory; close other programs, or work on fewer videos at the same "
            "time (--jobs)"
        )
    text = " ".join(str(error).split())[:300]
    return f"a fault in oddframe: {type(error).__name__}: {text} (--debug shows where)"


def nearest_name(wrong: str, known: Iterable[str]) -> str | None:
    """The name in ``known`` that ``wrong``, without case and punctuation, probably stands for."""
    letters = _letters(wrong)
    similarity = {name: _similarity(letters, _letters(name)) for name in known}
    best = max(similarity, key=similarity.__getitem__, default=None)
    return best if best is not None and similarity[best] >= _MIN_SIMILARITY else None


def name_hint(wrong: str, known: Iterable[str]) -> str:
    """What to say of a ``wrong`` name: the one that was probably meant, or all ``known`` ones."""
    near = nearest_name(wrong, known)
    return f"did you mean {near}?" if near else f"there are {', '.join(known)}"


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _similarity(wrong: str, name: str) -> float:
    """Similarity of letters; enough if only one differs, or if ``wrong`` is a part of ``name``."""
    ratio = SequenceMatcher(None, wrong, name).ratio()
    n_different = sum(a != b for a, b in zip(wrong, name, strict=False))
    one_differs = len(wrong) == len(name) and n_different == 1
    is_close = len(wrong) > 2 and (one_differs or wrong in name)
    return max(ratio, _MIN_SIMILARITY) if is_close else ratio
