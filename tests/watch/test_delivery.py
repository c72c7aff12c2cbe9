"""No message is lost or changes its id: whatever is cut off, killed, full, or down."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oddframe.errors import OddframeError, UsageError
from oddframe.watch.delivery import (
    Delivery,
    DeliveryError,
    MessageRefusedError,
    ReceiverGoneError,
    Sink,
)
from oddframe.watch.journal import Journal, JournalReader
from oddframe.watch.jsonl import JsonlSink
from oddframe.watch.messages import Message
from oddframe.watch.terminal import TerminalSink
from oddframe.watch.webhook import WebhookSink
from tests.watch.receiver import receiving
from tests.watch.samples import event, state

WAITS = {"first_wait_s": 0.01, "max_wait_s": 0.05}
MANY = 10**7
ID = "yard-20260304T235958Z-{:08x}"


class Recorder(Sink):
    """Remembers messages; ``fail`` says what happens first."""

    def __init__(self, name: str = "recorder") -> None:
        self.name = name
        self.got: list[Message] = []
        self.attempts = 0
        self.closed = threading.Event()
        self.fail: Callable[[Message], None] = lambda _: None

    def send(self, message: Message) -> None:
        self.attempts += 1
        self.fail(message)
        self.got.append(message)

    def close(self) -> None:
        self.closed.set()

    @property
    def numbers(self) -> list[int]:
        return [message.number for message in self.got]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.005)


def deliver(folder: Path, *sinks: Sink, **options) -> Delivery:
    return Delivery(folder, sinks, **({"say": print} | WAITS | options))


@pytest.fixture(scope="module", autouse=True)
def no_fsync() -> Iterator[None]:
    """On a busy disk each fsync takes a tenth of a second, and there are thousands here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def test_a_message_is_on_disk_when_it_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver(tmp_path)
    (path,) = tmp_path.glob("journal-*")
    synced: list[tuple[int, int]] = []

    def note(file: int) -> None:
        synced.append((os.fstat(file).st_ino, os.fstat(file).st_size))

    monkeypatch.setattr(os, "fsync", note)
    delivery.announce(state())
    monkeypatch.undo()
    assert synced[0] == (path.stat().st_ino, path.stat().st_size)
    delivery.close(1)


def test_messages_arrive_in_order_and_events_without_an_end_stay_open(tmp_path: Path) -> None:
    sink = Recorder()
    delivery = deliver(tmp_path, sink)
    messages = [
        event(id="a"),
        event(id="b"),
        state(),
        event("update", id="b"),
        event("end", id="a"),
    ]
    for message in messages:
        delivery.announce(message)
    assert [(e.kind, e.id) for e in delivery.open_events()] == [("update", "b")]
    delivery.close(5)
    assert sink.numbers == [1, 2, 3, 4, 5]
    assert sink.closed.is_set()
    assert all(message.announced is not None for message in sink.got)
    assert [(e.kind, e.id) for e in deliver(tmp_path).open_events()] == [("update", "b")]


def test_a_restart_delivers_what_is_left_and_nothing_twice(tmp_path: Path) -> None:
    sink = Recorder()

    def down(message: Message) -> None:
        if message.number > 2:
            raise DeliveryError("down")

    sink.fail = down
    delivery = deliver(tmp_path, sink)
    for _ in range(5):
        delivery.announce(state())
    wait_until(lambda: sink.attempts > 3)
    assert delivery.waiting() == {"recorder": 3}
    delivery.close(1)
    sink.fail = lambda _: None
    deliver(tmp_path, sink).close(5)
    assert sink.numbers == [1, 2, 3, 4, 5]


def test_a_sink_that_is_new_starts_with_the_next_message(tmp_path: Path) -> None:
    delivery = deliver(tmp_path, Recorder("old"))
    delivery.announce(state())
    delivery.close(5)
    new = Recorder("new")
    delivery = deliver(tmp_path, new, Recorder("old"))
    delivery.announce(state("online"))
    delivery.close(5)
    assert new.numbers == [2]


def test_a_stalled_sink_delays_neither_the_caller_nor_other_sinks(tmp_path: Path) -> None:
    stalled, other = Recorder("stalled"), Recorder("other")
    release = threading.Event()
    stalled.fail = lambda _: (release.wait(20), None)[1]
    delivery = deliver(tmp_path, stalled, other)
    start = time.monotonic()
    for _ in range(20):
        delivery.announce(state())
    wait_until(lambda: len(other.got) == 20)
    delivery.close(0.2)
    assert time.monotonic() - start < 5
    # The stalled one was not waited for; what it has not got is still there.
    release.set()
    fresh = Recorder("stalled")
    deliver(tmp_path, fresh).close(5)
    assert fresh.numbers[-1] == 20
    assert fresh.numbers[0] == 1


def test_failures_are_said_once_and_so_is_their_end(tmp_path: Path) -> None:
    lines: list[str] = []
    sink = Recorder()

    def fail_a_while(_: Message) -> None:
        if sink.attempts < 6:
            raise DeliveryError("answers 500")

    sink.fail = fail_a_while
    delivery = deliver(tmp_path, sink, say=lines.append)
    delivery.announce(state())
    delivery.announce(state())
    wait_until(lambda: len(sink.got) == 2)
    delivery.close(5)
    assert len(lines) == 2
    assert lines[0].startswith("recorder: answers 500; messages wait on disk")
    assert lines[1].startswith("recorder: works again; 2 messages")


def test_waits_grow_up_to_a_limit_and_follow_the_receiver(tmp_path: Path) -> None:
    sink, times = Recorder(), []

    def fail(_: Message) -> None:
        times.append(time.monotonic())
        if len(times) < 8:
            raise DeliveryError("busy", retry_after_s=0.3 if len(times) == 7 else 0.0)

    sink.fail = fail
    delivery = deliver(tmp_path, sink, first_wait_s=0.02, max_wait_s=0.16)
    delivery.announce(state())
    wait_until(lambda: len(sink.got) == 1)
    delivery.close(5)
    waits = [b - a for a, b in itertools.pairwise(times)]
    # Half to whole of 0.02, 0.04, 0.08, 0.16, 0.16, 0.16; the last is asked for, up to the limit.
    assert waits[0] < 0.06
    assert min(waits[3:]) >= 0.08
    assert waits[6] >= 0.16


def test_a_refused_message_is_left_out_and_a_receiver_that_is_gone_left_alone(
    tmp_path: Path,
) -> None:
    lines: list[str] = []
    sink = Recorder()

    def fail(message: Message) -> None:
        if message.number == 2:
            raise MessageRefusedError("refuses a message with 422")
        if message.number == 4:
            raise ReceiverGoneError("answers 410, gone")

    sink.fail = fail
    delivery = deliver(tmp_path, sink, say=lines.append)
    for _ in range(5):
        delivery.announce(state())
    wait_until(sink.closed.is_set)
    delivery.close(5)
    assert sink.numbers == [1, 3]
    assert ["message 2" in lines[0], "410" in lines[1], len(lines)] == [True, True, 2]
    sink.fail = lambda _: None
    deliver(tmp_path, sink).close(5)
    assert sink.numbers == [1, 3, 4, 5]


def test_the_journal_is_bounded_and_says_how_many_it_dropped(tmp_path: Path) -> None:
    lines: list[str] = []
    sink = Recorder()
    sink.fail = lambda _: (_ for _ in ()).throw(DeliveryError("down"))
    delivery = deliver(tmp_path, sink, say=lines.append, max_bytes=40_000)
    delivery.announce(event(id="long"))
    for i in range(120):
        delivery.announce(event("update", id=ID.format(i)))
        delivery.announce(event("end", id=ID.format(i)))
    used = sum(path.stat().st_size for path in tmp_path.glob("journal-*"))
    assert used <= 40_000 + 8 * 2_000  # Each segment also has the open events.
    # Its only message was dropped long ago, but it is still open.
    assert [each.id for each in delivery.open_events()] == ["long"]
    sink.fail = lambda _: None
    wait_until(lambda: 241 in sink.numbers)
    delivery.close(5)
    dropped = [line for line in lines if "dropped" in line]
    assert len(dropped) == 1
    lost = 241 - len(sink.got)
    assert f"{lost} messages were dropped" in dropped[0]
    assert [each.id for each in deliver(tmp_path).open_events()] == ["long"]


def test_delivered_messages_leave_the_disk(tmp_path: Path) -> None:
    delivery = deliver(tmp_path, Recorder(), max_bytes=40_000)
    for _ in range(200):
        delivery.announce(event("end"))
        if delivery.waiting()["recorder"] > 5:
            wait_until(lambda: delivery.waiting()["recorder"] == 0)
    wait_until(lambda: delivery.waiting()["recorder"] == 0)
    delivery.close(5)
    assert len(list(tmp_path.glob("journal-*"))) == 1


def test_a_journal_that_somebody_removes_is_started_again(tmp_path: Path) -> None:
    sink = Recorder()
    delivery = deliver(tmp_path, sink)
    delivery.announce(event())
    wait_until(lambda: len(sink.got) == 1)
    for path in tmp_path.glob("journal-*"):
        path.unlink()
    delivery.announce(state())
    delivery.close(5)
    assert sink.numbers == [1, 2]
    assert [each.number for each in deliver(tmp_path).open_events()] == [1]


def test_a_message_that_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    sink = Recorder()
    delivery = deliver(tmp_path, sink)
    with pytest.raises(ValueError, match="too long"):
        delivery.announce(state(text="x" * 5000))
    delivery.announce(state())
    delivery.close(5)
    assert sink.numbers == [1]


def test_one_folder_serves_one_process(tmp_path: Path) -> None:
    delivery = deliver(tmp_path)
    with pytest.raises(UsageError, match="in use by another oddframe watch"):
        deliver(tmp_path)
    delivery.close(1)
    deliver(tmp_path).close(1)
    with pytest.raises(UsageError, match="named twice"):
        deliver(tmp_path, Recorder(), Recorder())


def test_a_damaged_cursor_delivers_rather_twice_than_never(tmp_path: Path) -> None:
    sink = Recorder()
    delivery = deliver(tmp_path, sink)
    delivery.announce(state())
    delivery.announce(state())
    delivery.close(5)
    (cursor,) = tmp_path.glob("cursor-*")
    cursor.write_text("{")
    deliver(tmp_path, sink).close(5)
    assert sink.numbers == [1, 2, 1, 2]


def test_a_full_disk_loses_nothing_that_was_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Recorder()
    delivery = deliver(tmp_path, sink)
    delivery.announce(state())
    wait_until(lambda: len(sink.got) == 1)
    write = os.write

    def write_half(file: int, data: bytes) -> int:
        if data.startswith(b'{"version"'):
            return write(file, data[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("oddframe.watch.journal.os.write", write_half)
    with pytest.raises(OddframeError, match="no space left"):
        delivery.announce(state("frozen"))
    monkeypatch.undo()
    delivery.announce(state("online"))
    delivery.close(5)
    assert [message.state for message in sink.got] == ["offline", "online"]
    assert sink.numbers == [1, 2]


messages = st.lists(
    st.tuples(st.sampled_from(["new", "update", "end"]), st.integers(0, 5)), max_size=30
)


@settings(deadline=None, max_examples=40)
@given(messages, st.integers(0, 3000), st.integers(500, 20_000), st.binary(max_size=30))
def test_any_cut_of_the_last_bytes_loses_only_what_was_not_whole(
    sent: list[tuple[str, int]], cut: int, max_bytes: int, junk: bytes
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, max_bytes)
        appended = [journal.append(event(kind, id=f"e{i}")) for kind, i in sent]
        journal.close()
        path = max(folder.glob("journal-*"))
        content = path.read_bytes()
        head = content.index(b"\n") + 1
        # A kill during a write leaves a part of the last line; junk may follow after a power cut.
        kept = max(len(content) - cut, head)
        path.write_bytes(content[:kept] + junk.replace(b"\n", b""))
        journal = Journal(folder, max_bytes)
        whole = content[head:kept].count(b"\n")
        last = int(path.stem[8:]) - 1 + whole
        assert journal.last == last
        expected: dict[str, int] = {}
        for message in appended[:last]:
            expected.pop(message.id, None)
            if message.kind != "end":
                expected[message.id] = message.number
        assert {e.id: e.number for e in journal.open_events()} == expected
        assert journal.append(state()).number == last + 1
        reader, number, read = JournalReader(journal), journal.first, []
        while (found := reader.read(number)) is not None:
            read.append(found.number)
            number = found.number + 1
        assert read == list(range(journal.first, last + 2))
        journal.close()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 40), st.integers(1, 200), st.data())
def test_a_line_that_rots_costs_only_its_own_message(
    where: int, width: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        journal = Journal(folder, MANY)
        for i in range(20):
            journal.append(event(id=f"e{i}"))
        (path,) = folder.glob("journal-*")
        lines = path.read_bytes().splitlines(keepends=True)
        hurt = 1 + where % 19  # Not the first line, which has the open events, and not the last.
        start = data.draw(st.integers(0, len(lines[hurt]) - 2))
        end = min(start + width, len(lines[hurt]) - 1)
        lines[hurt] = lines[hurt][:start] + b"\xff" * (end - start) + lines[hurt][end:]
        path.write_bytes(b"".join(lines))
        journal.close()
        journal, number, read = Journal(folder, MANY), 1, []
        reader = JournalReader(journal)
        while (found := reader.read(number)) is not None:
            read.append(found.number)
            number = found.number + 1
        assert read == [n for n in range(1, 21) if n != hurt]
        journal.close()


class Killed(BaseException):
    """Stands for kill -9: nothing after it is done."""


@contextmanager
def killed_at(call: int, *, is_done: bool) -> Iterator[None]:
    """End at the n-th call that changes the disk: before it, or after it has been done."""
    left = itertools.count(call, -1)

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            if next(left) != 0:
                return function(*args, **options)
            if is_done:
                function(*args, **options)
            elif function is os_write:  # A part of a write is done.
                function(args[0], args[1][: len(args[1]) // 2])
            raise Killed

        return run

    os_write = os.write
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "write"), (os, "fsync"), (os, "ftruncate"), (os, "open")):
            patch.setattr(owner, name, wrap(getattr(owner, name)))
        for name in ("replace", "unlink", "write_bytes"):
            patch.setattr(Path, name, wrap(getattr(Path, name)))
        yield


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.booleans(), st.integers(1, 12_000))
def test_killed_at_any_step_the_journal_has_what_was_announced(
    call: int, is_done: bool, max_bytes: int
) -> None:
    """Segments change after each one to eight messages, so a kill meets every step of that."""
    with TemporaryDirectory() as name:
        folder, announced = Path(name), 0
        journal = Journal(folder, max_bytes)
        with suppress(Killed), killed_at(call, is_done=is_done):
            for i in range(12):
                announced = journal.append(event(id=f"e{i}")).number
        journal = Journal(folder, max_bytes)
        # One more is possible: it was written when the process ended, but not yet announced.
        assert journal.last in (announced, announced + 1)
        opened = {each.id: each.number for each in journal.open_events()}
        assert opened == {f"e{n - 1}": n for n in range(1, journal.last + 1)}
        assert journal.append(event("end", id="e0")).number <= announced + 2
        last = JournalReader(journal).read(journal.last)
        assert last is not None
        assert last.number == journal.last
        journal.close()


ANNOUNCER = """
import sys, time
from functools import partial
from pathlib import Path
from oddframe.watch.delivery import Delivery
from oddframe.watch.jsonl import JsonlSink
from oddframe.watch.messages import new_event_id
from oddframe.watch.webhook import WebhookSink
from dataclasses import replace
from tests.watch.samples import START, event

folder = Path(sys.argv[1])
sinks = [JsonlSink(folder / "events.jsonl"), WebhookSink(sys.argv[2])]
say = partial(print, file=sys.stderr)
delivery = Delivery(folder / "journal", sinks, say=say, max_bytes=60_000)


def wait():  # The journal is small, so that segments change.
    while max(delivery.waiting().values()) > 20:
        time.sleep(0.001)


wait()
for left in delivery.open_events():  # As ``watch`` does after a restart.
    delivery.announce(replace(left, kind="end", before=left))
    print("end", left.id, flush=True)
while True:
    wait()
    id = new_event_id("yard", START)
    delivery.announce(event(id=id))
    print("new", id, flush=True)
    delivery.announce(event("end", id=id))
    print("end", id, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_random_moments_loses_no_announced_event(tmp_path: Path) -> None:
    """What a process said was announced arrives, under the same id; in the file, once."""
    rng = random.Random(0)
    said: list[tuple[str, ...]] = []
    with receiving() as receiver:
        url = f"http://{receiver.host}"
        words = [sys.executable, "-c", ANNOUNCER, str(tmp_path), url]
        for _ in range(8):
            child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            assert child.stdout is not None
            lines = [child.stdout.readline()]  # It has started.
            killer = threading.Timer(rng.uniform(0.0, 0.3), child.kill)
            killer.start()
            lines += child.stdout.readlines()
            child.wait()
            killer.join()
            said += [tuple(line.split()) for line in lines if line.endswith("\n")]
        sinks = [JsonlSink(tmp_path / "events.jsonl"), WebhookSink(url)]
        Delivery(tmp_path / "journal", sinks, say=print).close(10)
        posted = [json.loads(body) for _, _, body in receiver.requests]
    written = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert len(said) > 16
    found = [(data["kind"], data["id"]) for data in written]
    assert set(said) <= set(found)
    assert len(found) == len(set(found))  # None twice, and no id for two events.
    assert {(data["kind"], data["id"]) for data in posted} == set(found)
    # What came twice is the same message.
    assert len({json.dumps(data) for data in posted}) == len(written)
    ended = {id for kind, id in found if kind == "end"}
    begun = [id for kind, id in found if kind == "new"]
    assert len(set(begun) - ended) <= 1  # Only of the last process.


def test_the_file_survives_a_crash_and_being_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "log" / "events.jsonl"
    sink = JsonlSink(path)
    sink.send(event(number=1))
    sink.send(event(number=1))  # Killed before the cursor was written.
    with path.open("ab") as file:
        file.write(b'{"version": 1, "type"')  # Killed while writing.
    sink.send(event("end", number=2))
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [1, 2]
    path.rename(tmp_path / "events.1")
    sink.send(state(number=3))
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [3]


def test_the_terminal_says_when_events_start_and_end() -> None:
    lines: list[str] = []
    sink = TerminalSink(lines.append)
    for message in (
        event(),
        event("update"),
        event("end", clip="yard/x.mp4"),
        state(text="no route"),
    ):
        sink.send(message)
    assert len(lines) == 3
    assert "yard: event, score 0.88" in lines[0] or "yard: event, score 0.87" in lines[0]
    assert "after 4.0 s" in lines[1]
    assert "yard/x.mp4" in lines[1]
    assert lines[2].endswith("yard: offline: no route")
