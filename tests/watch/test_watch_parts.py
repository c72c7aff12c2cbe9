"""Sources, clocks, fairness and the log of events, each by itself."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oddframe.errors import UsageError
from oddframe.stream import StreamUpdate
from oddframe.timeline import Event
from oddframe.video.snippets.cutter import CutSnippet
from oddframe.watch import event_log
from oddframe.watch.cameras_file import AnnounceRule
from oddframe.watch.clocks import STOPPED_S, CameraClock, WallClock
from oddframe.watch.event_log import EventLog
from oddframe.watch.looks import Look, LookQueue
from oddframe.watch.messages import CameraEvent
from oddframe.watch.reader_protocol import MediaRequest
from oddframe.watch.sources import parse_source, redact, source_name

# Sources.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:hunter2@10.0.0.3:554/a", "rtsp://***@10.0.0.3:554/a"),
        ("RTSP://me:p@ss@10.0.0.3/a", "RTSP://***@10.0.0.3/a"),
        ("https://h/a.m3u8?token=abc&x=1", "https://h/a.m3u8?token=***&x=1"),
        ("http://me@h/", "http://***@h/"),
        ("rtsp://me:it's@h/a", "rtsp://***@h/a"),
        ("rtsp://h/user=a_password=b", "rtsp://h/user=a_password=***"),
        ("http://h/a?access_token=abc&api_key=d", "http://h/a?access_token=***&api_key=***"),
    ],
)
def test_logins_are_not_shown(text: str, shown: str) -> None:
    source = parse_source(text)
    assert source.shown == shown
    assert redact(f"error at '{text}': x") == f"error at '{shown}': x"
    assert "hunter2" not in repr(source)
    assert text[8:] in source.address


@pytest.mark.parametrize(
    "text",
    [
        *("ftp://h/a", "file:///etc/passwd", "concat://a", "srt://h:1", "udp://h:1", "rtsp://"),
        *("rtsp://h:99999/", "http://h/a b", "rtsp://h/\n", "no-such-file.mp4", "/dev/null", ""),
    ],
)
def test_other_sources_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_source(text)


def test_files_need_as_live_and_sources_have_names(tmp_path: Path) -> None:
    file = tmp_path / "yard.mp4"
    file.write_bytes(b"x")
    with pytest.raises(UsageError, match="--as-live"):
        parse_source(str(file))
    assert source_name(parse_source(str(file), as_live=True)) == "yard"
    assert source_name(parse_source(str(tmp_path))) == tmp_path.name
    assert source_name(parse_source("rtsp://u:p@10.0.0.3:8554/x")) == "10.0.0.3"


def test_a_playlist_from_the_network_may_not_lead_to_files() -> None:
    for text in ("http://h/a.m3u8", "https://h/a.m3u8", "rtsp://h/", "rtsps://h/"):
        protocols = parse_source(text).protocols.split(",")
        assert not {"file", "pipe", "concat", "data", "subfile"} & set(protocols)


# Clocks.


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.04, 0.5, None, -3.0]), st.floats(0.01, 2.0)), max_size=80
    ),
    st.booleans(),
)
def test_times_of_a_camera_always_increase(steps: list[Any], has_stamps: bool) -> None:
    clock = CameraClock(25.0, 0.0, has_stamps=has_stamps)
    stamp, arrived, last = 0.0, 100.0, -1.0
    for step, pause in steps:
        arrived += pause
        stamp += step or 0.0
        time_s = clock(None if step is None else stamp, arrived)
        assert time_s > last
        last = time_s


def test_a_clock_that_stops_is_noticed_and_arrival_counts_until_it_goes() -> None:
    clock = CameraClock(10.0, 0.0)
    stopped = []
    for i in range(300):  # Ten seconds each: goes, stands, goes.
        stamp = i / 10 if i < 100 else (9.9 if i < 200 else 9.9 + (i - 199) / 10)
        time_s = clock(stamp, 50 + i / 10)
        stopped.append(clock.is_stopped)
        if i < 100 or i > 100 + STOPPED_S * 10 + 1:
            assert time_s == pytest.approx(i / 10, abs=0.15)
    assert [i for i in range(1, 300) if stopped[i] != stopped[i - 1]] == [
        pytest.approx(99 + STOPPED_S * 10, abs=1),
        pytest.approx(200 + STOPPED_S * 10, abs=1),
    ]


def test_a_camera_without_stamps_has_the_time_of_arrival() -> None:
    clock = CameraClock(25.0, 3.0, has_stamps=False)
    assert [clock(i / 25, 10 + i / 5) for i in range(3)] == pytest.approx([3.0, 3.2, 3.4])


def test_the_wall_clock_takes_the_least_delay_and_follows_a_slow_clock() -> None:
    walls = WallClock()
    rng = np.random.default_rng(0)
    for i in range(100_000):
        time_s = i / 10
        walls.add(time_s, 1e9 + time_s * 1.0001 + rng.uniform(0, 0.5))
    assert walls.offset_s == pytest.approx(1e9 + 1.0, abs=0.1)


# Fairness.


def snippet(**more: Any) -> CutSnippet:
    return CutSnippet((0.0,), np.zeros((1, 1, 1, 1, 3), np.uint8), **more)


def take(queue: LookQueue, most: int = 1) -> list[Look]:
    return queue.take(most, 0.0)


@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(1, 4))
def test_looks_are_shared_fairly(rates: list[int], service: int) -> None:
    """Cameras send 1 to 6 snippets a round, and ``service`` of all are looked at."""
    queue = LookQueue(len(rates))
    looked: Counter[int] = Counter()
    order: list[list[float]] = [[] for _ in rates]
    rounds = 60
    for i in range(rounds):
        for camera, rate in enumerate(rates):
            for k in range(rate):
                cut = CutSnippet((i + k / 10,), np.zeros((1, 1, 1, 1, 3), np.uint8))
                queue.put(Look(camera, cut, 0.0))
        for _ in range(service):
            for look in take(queue):
                order[look.camera] += look.snippet.times
                looked[look.camera] += look.snippet.image is not None
    assert sum(looked.values()) >= rounds * min(service, len(rates)) - 4
    counts = [looked[camera] for camera in range(len(rates))]
    for camera, rate in enumerate(rates):
        # Nobody has less than another, but one that sends no more.
        if counts[camera] < max(counts) - 3:
            assert counts[camera] >= min(rate, 2) * rounds - 6
        assert order[camera] == sorted(order[camera])


def test_one_that_nobody_takes_keeps_few_pictures() -> None:
    queue = LookQueue(1)
    queue.put(Look(0, snippet(is_first=True), 0.0))
    for _ in range(100):
        queue.put(Look(0, snippet(), 0.0))
    taken = []
    while looks := take(queue):
        taken += looks
    images = [look for look in taken if look.snippet.image is not None]
    assert len(taken) == 101
    assert 2 <= len(images) <= 3
    assert images[0].snippet.is_first  # Those that follow have its score.
    assert queue.coverage() == [pytest.approx(len(images) / 101)]


def test_a_batch_has_at_most_one_picture_of_a_camera() -> None:
    queue = LookQueue(3)
    for camera in (0, 0, 1, 2):
        queue.put(Look(camera, snippet(), 0.0))
    assert [look.camera for look in take(queue, 4)] == [0, 1, 2]
    assert [look.camera for look in take(queue, 4)] == [0]


# The log of events.

WALL = datetime(2026, 3, 4, tzinfo=UTC).timestamp()


def update(kind: Any, start: float, end: float, id: int = 1, score: float = 0.8) -> StreamUpdate:
    return StreamUpdate(kind, start, end, score, id, None, Event(start, end, start, score))


def test_an_event_has_one_id_and_its_messages_say_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_log, "_UPDATE_S", 0.0)
    said: list[CameraEvent] = []
    log = EventLog("a", said.append, zone=UTC)
    log.take(update("new", 1.0, 2.0), WALL)
    log.take(update("update", 1.0, 3.0, score=0.9), WALL)
    log.take(update("end", 1.0, 4.0, score=0.9), WALL)
    assert [each.kind for each in said] == ["new", "update", "end"]
    assert len({each.id for each in said}) == 1
    assert [each.before and each.before.end_s for each in said] == [None, 2.0, 3.0]
    assert said[-1].end == datetime(2026, 3, 4, 0, 0, 4, tzinfo=UTC)


def test_an_interrupted_event_goes_on_if_the_next_begins_soon() -> None:
    said: list[CameraEvent] = []
    log = EventLog("a", said.append)
    log.take(update("new", 1.0, 2.0), WALL)
    log.take(update("end", 1.0, 2.0), WALL, interrupted=True)
    log.take(update("new", 12.0, 13.0, id=2), WALL)
    log.take(update("end", 12.0, 14.0, id=2), WALL)
    assert [each.kind for each in said] == ["new", "update", "end"]
    assert len({each.id for each in said}) == 1
    assert (said[-1].start_s, said[-1].end_s) == (1.0, 14.0)


def test_an_event_of_before_a_restart_ends_under_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[CameraEvent] = []
    first = EventLog("a", said.append)
    first.take(update("new", 1.0, 2.0), WALL)
    monkeypatch.setattr(event_log, "RESUME_S", 0.0)
    log = EventLog("a", said.append, unfinished=[said[0]])
    log.take(update("new", 100.0, 101.0), WALL)
    log.tick()
    log.close()
    assert [each.kind for each in said] == ["new", "new", "end", "end"]
    assert said[2].id == said[0].id != said[1].id == said[3].id


@pytest.mark.parametrize("changes_at", ["2026-03-29T01:00", "2026-10-25T01:00"])
def test_a_cool_down_is_as_long_when_the_clocks_change(changes_at: str) -> None:
    said: list[CameraEvent] = []
    zone, rule = ZoneInfo("Europe/Berlin"), AnnounceRule(cool_down_s=60.0)
    log = EventLog("a", said.append, rule=rule, zone=zone)
    wall = datetime.fromisoformat(changes_at).replace(tzinfo=UTC).timestamp()
    for number, start in enumerate((-20.0, 10.0, 80.0), 1):
        log.take(update("new", start, start + 1, id=number), wall)
        log.take(update("end", start, start + 1, id=number), wall)
    assert [each.start_s for each in said if each.kind == "new"] == [-20.0, 80.0]


def test_schedule_and_cool_down_keep_events_back_whole() -> None:
    said: list[CameraEvent] = []
    log = EventLog("a", said.append, rule=AnnounceRule(cool_down_s=60.0))
    for number, start in enumerate((0.0, 30.0, 70.0), 1):
        log.take(update("new", start, start + 1, id=number), WALL)
        log.take(update("update", start, start + 2, id=number), WALL)
        log.take(update("end", start, start + 3, id=number), WALL)
    assert [each.start_s for each in said if each.kind == "new"] == [0.0, 70.0]
    assert Counter(each.kind for each in said)["end"] == 2
    until = datetime.fromtimestamp(WALL, UTC) + timedelta(hours=1)
    log.rule = AnnounceRule(snooze_until=until)
    log.take(update("new", 200.0, 201.0, id=4), WALL)
    log.take(update("new", 3700.0, 3701.0, id=5), WALL)
    assert [each.start_s for each in said if each.kind == "new"] == [0.0, 70.0, 3700.0]


def test_the_end_waits_for_the_clip_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[CameraEvent] = []
    asked: list[MediaRequest] = []
    log = EventLog("a", said.append, asked.append)
    log.take(update("new", 10.0, 12.0), WALL)
    log.picture(said[0].id, "p.jpg")
    log.take(update("end", 10.0, 12.0), WALL)
    assert [each.peak_s for each in asked] == [10.0, None]
    assert (asked[1].start_s, asked[1].end_s) == (5.0, 17.0)
    assert log.waits_for_clips
    log.clip(said[0].id, "c.mp4")
    assert (said[-1].kind, said[-1].clip, said[-1].picture) == ("end", "c.mp4", "p.jpg")
    monkeypatch.setattr(event_log, "_CLIP_S", -100.0)
    log.take(update("new", 110.0, 112.0, id=2), WALL)
    log.take(update("end", 110.0, 112.0, id=2), WALL)
    log.tick()
    assert (said[-1].kind, said[-1].clip) == ("end", None)
