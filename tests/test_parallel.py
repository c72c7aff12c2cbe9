"""Parallel map: order of results, errors, and Ctrl-C."""

from __future__ import annotations

from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from oddframe._utils.parallel import CancelCheck, parallel_map
from oddframe.datasets.labelled import NORMAL, LabelledVideo
from oddframe.errors import InputError, OddframeError
from oddframe.features.store.store import FeatureStore
from oddframe.training.data.features import Extractor, FeatureRequest, load_features
from tests.training.precomputed import linear, ready_made


def test_results_have_the_order_of_the_items() -> None:
    later, told = Event(), []

    def make(number: int, go_on: CancelCheck) -> int:
        go_on(0, None)
        if number == 0:
            later.wait()
        if number == 2:
            later.set()
            raise InputError("no video")
        return 10 * number

    first, second, third = parallel_map([0, 1, 2], make, 2, lambda *seen: told.append(seen))
    assert (first, second, str(third)) == (0, 10, "no video")
    assert [done for done, _ in told] == [1, 2, 3]
    assert sorted(number for _, number in told) == [0, 1, 2]


def test_an_error_stops_the_other_threads_and_is_raised() -> None:
    running = Event()

    def make(number: int, go_on: CancelCheck) -> None:
        if number == 1:
            running.wait()
            raise OddframeError("the disk is full")
        while True:
            running.set()
            go_on(0, None)

    with pytest.raises(OddframeError, match="the disk is full"):
        parallel_map([0, 1], make, 2, lambda *_: None)


def test_ctrl_c_does_not_wait_for_a_video(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, stopped = Event(), Event()

    def endless(*_: Any, progress: CancelCheck, **__: Any) -> None:
        try:
            while True:
                progress(0, None)
                running.set()
        except CancelledError:
            stopped.set()
            raise

    def interrupt(*_: Any) -> None:
        running.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr("oddframe.training.data.features.load_backbone", lambda *_, **__: None)
    monkeypatch.setattr("oddframe.training.data.features.extract_tasks", endless)
    section = linear().features
    ready = ready_made(tmp_path / "ready", 1).videos[0]
    long = LabelledVideo(clip, False, NORMAL, "g")
    requests = [FeatureRequest(video, (section,)) for video in (ready, long)]
    extractor = Extractor(FeatureStore(tmp_path / "store"), "cpu", "torch")
    with pytest.raises(KeyboardInterrupt):
        load_features(requests, extractor, 2, interrupt)
    assert stopped.is_set()
