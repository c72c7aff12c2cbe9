"""Several videos at a time, each on a thread of its own; after Ctrl-C they are not waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

from oddframe.errors import InputError
from oddframe.features.extraction.extract_video import ProgressCallback

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")
CancelCheck = ProgressCallback


def parallel_map(
    items: Sequence[_ItemT],
    make: Callable[[_ItemT, CancelCheck], _ResultT],
    jobs: int,
    on_done: Callable[[int, _ItemT], None],
) -> list[_ResultT | InputError]:
    """What ``make`` makes of each, in their order; of what cannot be read, why.

    Args:
        items: Of what.
        make: Takes one, and what it has to call now and then, as the progress of an extraction:
            that raises CancelledError once its result is not needed any more.
        jobs: How many at a time.
        on_done: Called with (done, the latest) as they come.

    Raises:
        BaseException: what ``translate_os_errors`` raises, and what ``make`` does other than
        InputError; those
            that are being made are stopped first.
    """
    stopped = Event()

    def go_on(_done: int, _expected: int | None) -> None:
        if stopped.is_set():
            raise CancelledError

    made: dict[int, _ResultT | InputError] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        work = {pool.submit(make, item, go_on): i for i, item in enumerate(items)}
        try:
            for done, future in enumerate(as_completed(work), start=1):
                i = work[future]
                try:
                    made[i] = future.result()
                except InputError as error:
                    made[i] = error
                on_done(done, items[i])
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [made[i] for i in range(len(items))]
