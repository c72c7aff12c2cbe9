"""Several videos at a time, each on a thread of its own; after Ctrl-C they are not waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from threading import Event
from typing import TypeVar

from oddframe.errors import InputError
from oddframe.features.extraction.extract import Progress

Item = TypeVar("Item")
Made = TypeVar("Made")
GoOn = Progress


def side_by_side(
    items: Sequence[Item],
    make: Callable[[Item, GoOn], Made],
    jobs: int,
    told: Callable[[int, Item], None],
) -> list[Made | InputError]:
    """What ``make`` makes of each, in their order; of what cannot be read, why.

    Args:
        items: Of what.
        make: Takes one, and what it has to call now and then, as the progress of an extraction:
            that raises CancelledError once its result is not needed any more.
        jobs: How many at a time.
        told: Called with (done, the latest) as they come.

    Raises:
        BaseException: what ``told`` raises, and what ``make`` does other than InputError; those
            that are being made are stopped first.
    """
    stopped = Event()

    def go_on(_done: int, _expected: int | None) -> None:
        if stopped.is_set():
            raise CancelledError

    made: dict[int, Made | InputError] = {}
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        work = {pool.submit(make, item, go_on): i for i, item in enumerate(items)}
        try:
            for done, future in enumerate(as_completed(work), start=1):
                i = work[future]
                try:
                    made[i] = future.result()
                except InputError as error:
                    made[i] = error
                told(done, items[i])
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [made[i] for i in range(len(items))]
