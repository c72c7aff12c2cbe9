from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from oddframe.video.snippets.reader import iterate_in_thread


def decoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "oddframe-decoder"]


def test_all_items_in_order() -> None:
    assert list(iterate_in_thread((i for i in range(500)), 3)) == list(range(500))
    assert list(iterate_in_thread((i for i in ()), 3)) == []
    assert not decoders()


def test_work_goes_on_while_the_reader_is_busy_but_not_far_ahead() -> None:
    made = []
    third = threading.Event()

    def work() -> Generator[int, None, None]:
        for i in range(100):
            made.append(i)
            if i == 3:
                third.set()
            yield i

    items = iterate_in_thread(work(), 3)
    assert next(items) == 0
    assert third.wait(10)  # Three more were made though nobody asked for them.
    assert len(made) <= 1 + 3 + 1
    items.close()


def test_an_error_reaches_the_reader_after_what_came_before() -> None:
    def work() -> Generator[int, None, None]:
        yield 1
        raise ValueError("broken")

    items = iterate_in_thread(work(), 4)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert not decoders()


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_stopping_early_ends_the_thread_and_closes_the_source(error) -> None:
    closed = threading.Event()

    def work() -> Generator[int, None, None]:
        try:
            yield from range(10**9)
        finally:
            closed.set()

    items = iterate_in_thread(work(), 2)
    next(items)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            items.throw(KeyboardInterrupt)
    else:
        items.close()
    assert closed.is_set()
    assert not decoders()
