"""Lets worker processes start without the user's main script."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def hidden_main_module() -> Iterator[None]:
    """Keep processes that ``multiprocessing`` spawns in this block from running the main script.

    A spawned process imports the main script again. A script without ``if __name__ ==
    "__main__"`` would then start the work once more in each process, and fail. What the processes
    are given must not be defined in the main script.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
