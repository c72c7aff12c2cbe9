"""Call a function for many items in several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from typing import TypeVar

from oddframe.errors import InputError

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")
CancelCheck = Callable[..., None]
"""Takes whatever a progress callback takes and ignores it; raises CancelledError when stopped."""


def parallel_map(
    items: Sequence[_ItemT],
    make: Callable[[_ItemT, CancelCheck], _ResultT],
    jobs: int,
    on_done: Callable[[int, _ItemT], None],
) -> list[_ResultT | InputError]:
    """Results of ``make`` in the order of ``items``; an InputError stands in for its result.

    ``make`` must call its ``CancelCheck`` now and then, for example as the progress callback of an
    extraction. ``on_done(number of items done, the latest item)`` is called in this thread. After
    any other exception, Ctrl-C included, the threads are told to stop and are not waited for.
    """
    stopped = threading.Event()

    def check_cancelled(*_: object) -> None:
        if stopped.is_set():
            raise CancelledError

    results: dict[int, _ResultT | InputError] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {pool.submit(make, item, check_cancelled): i for i, item in enumerate(items)}
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                i = futures[future]
                try:
                    results[i] = future.result()
                except InputError as error:
                    results[i] = error
                on_done(done, items[i])
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [results[i] for i in range(len(items))]
