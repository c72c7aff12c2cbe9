"""Delivers messages to sinks, each at least once: over failures, restarts and kills.

A message is in the journal on disk before any sink sees it. Each sink has a thread and a cursor, a
small file with the number of its next message, so a sink that fails delays neither the others nor
the caller, and needs no memory.
"""

from __future__ import annotations

import hashlib
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from oddframe._utils.files import json_text, make_folder, read_bytes, safe_file_name, write_text
from oddframe._utils.locks import ProcessLock
from oddframe._utils.parsing import parse_json
from oddframe.errors import OddframeError, UsageError
from oddframe.watch.journal import Journal, JournalReader, sync_folder
from oddframe.watch.messages import CameraEvent, Message

MAX_BYTES = 64 * 2**20  # Of the journal: some 50,000 messages.
FIRST_WAIT_S, MAX_WAIT_S = 1.0, 300.0  # Between two attempts to deliver a message.
_DROPPED_EVERY_S = 60.0
_MAX_CURSOR_BYTES = 4096


class DeliveryError(Exception):
    """A message could not be delivered and is tried again; one line that says why.

    Attributes:
        retry_after_s: The shortest wait that the receiver asks for.
    """

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class MessageRefusedError(Exception):
    """The receiver will never take this message; the next one is sent."""


class ReceiverGoneError(Exception):
    """The receiver wants no more messages; what is left waits for the next start."""


class Sink(ABC):
    """Where messages go. All methods are called in the one thread that belongs to the sink.

    Attributes:
        name: Unique, and the same after a restart; shown to people, so without passwords.
    """

    name: str

    def open(self) -> None:  # noqa: B027 (most sinks have nothing to open)
        """Called once, before the first message; may not fail and may not wait."""

    @abstractmethod
    def send(self, message: Message) -> None:
        """Deliver a message; return when the receiver has it.

        Raises:
            MessageRefusedError: it is not tried again.
            ReceiverGoneError: nothing is tried again until the next start.
            Exception: any other: the same message is tried again, later and later.
        """

    def close(self) -> None:  # noqa: B027
        """Called once, after the last message."""


class Delivery:
    """A journal in a folder, and the sinks that its messages go to.

    Messages that were not delivered when the last process ended are delivered now. A sink that the
    folder does not know starts with the next message.

    Args:
        folder: Of the journal and the cursors; created if missing. One process at a time.
        sinks: With different names. Each is opened, and closed by ``close``.
        say: Gets one line when a sink starts to fail, when it works again, and when messages are
            dropped; called in the sinks' threads.
        max_bytes: Of the journal on disk. Beyond it, the oldest messages are dropped.
        first_wait_s: Seconds before the second attempt; each further wait is twice as long.
        max_wait_s: The longest wait.

    Raises:
        UsageError: another process uses the folder, or two sinks have the same name.
        OddframeError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        sinks: Sequence[Sink],
        *,
        say: Callable[[str], None],
        max_bytes: int = MAX_BYTES,
        first_wait_s: float = FIRST_WAIT_S,
        max_wait_s: float = MAX_WAIT_S,
    ) -> None:
        if twice := [name for name, n in Counter(sink.name for sink in sinks).items() if n > 1]:
            raise UsageError(f"{twice[0]}: named twice; messages would arrive there twice")
        make_folder(folder)
        self._lock = ProcessLock(folder / "lock")
        if not self._lock.acquire():
            raise UsageError(
                f"{folder}: in use by another oddframe watch (process {self._lock.holder()}); stop "
                "it, or name another folder"
            )
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            self._journal = Journal(folder, max_bytes)
            undo.callback(self._journal.close)
            waits = (first_wait_s, max_wait_s)
            self._workers = [_SinkWorker(sink, self._journal, say, waits) for sink in sinks]
            # A cursor that a power cut takes away would make its sink a new one.
            sync_folder(folder)
            sync_folder(folder.parent)
            undo.pop_all()
        for worker in self._workers:
            worker.after_progress = self._drop_delivered
            worker.start()

    def announce(self, message: Message) -> None:
        """Write a message to the journal, from where the sinks take it; never waits for a sink.

        Raises:
            OddframeError: the disk is full or fails. The message is not announced; those before
                it are safe.
        """
        self._journal.append(message)
        for worker in self._workers:
            worker.wake()
        if not self._workers:
            self._drop_delivered()

    def open_events(self) -> list[CameraEvent]:
        """The latest message of each event without an ``end``, also from before a restart."""
        return self._journal.open_events()

    def waiting(self) -> dict[str, int]:
        """How many messages are not delivered yet, by sink."""
        return {worker.sink.name: worker.n_waiting() for worker in self._workers}

    def close(self, timeout_s: float) -> None:
        """Deliver what is left, each message with one attempt, for at most ``timeout_s`` seconds.

        What is not delivered stays in the folder for the next start.
        """
        until = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.join(max(until - time.monotonic(), 0.0))
            worker.abandon()
        self._journal.close()
        self._lock.release()

    def _drop_delivered(self) -> None:
        nexts = [worker.next_number for worker in self._workers]
        self._journal.drop_before(min(nexts, default=self._journal.last + 1))


class _SinkWorker(threading.Thread):
    """Delivers the journal's messages to one sink."""

    def __init__(
        self,
        sink: Sink,
        journal: Journal,
        say: Callable[[str], None],
        waits: tuple[float, float],
    ) -> None:
        super().__init__(name=f"oddframe {sink.name}", daemon=True)
        self.sink = sink
        self.after_progress: Callable[[], None] = lambda: None
        self._journal, self._reader = journal, JournalReader(journal)
        self._say = say
        self._first_wait_s, self._max_wait_s = waits
        digest = hashlib.sha256(sink.name.encode()).hexdigest()[:8]
        self._cursor = journal.folder / f"cursor-{safe_file_name(sink.name)[:60]}-{digest}.json"
        self._wake, self._closing = threading.Event(), threading.Event()
        self._abandoned = False
        self._dropped, self._say_dropped_at = 0, 0.0
        self._said = ""  # The failure that was said last; "": the sink works.
        self.next_number = self._read_cursor()
        self._write_cursor()

    def wake(self) -> None:
        """There is a new message."""
        self._wake.set()

    def stop(self) -> None:
        """Try to deliver what is left, then end at the first failure."""
        self._closing.set()
        self._wake.set()

    def abandon(self) -> None:
        """Leave the cursor alone from now on: another process may have it."""
        self._abandoned = True

    def n_waiting(self) -> int:
        """Messages that are not delivered yet."""
        return self._journal.last + 1 - max(self.next_number, self._journal.first)

    def run(self) -> None:
        """Deliver messages until ``stop``."""
        self.sink.open()
        try:
            while True:
                self._wake.clear()
                message = self._read()
                if message is not None:
                    self._say_dropped(message.number - self.next_number)
                    self._deliver(message)
                    self._advance(message.number + 1)
                elif self._closing.is_set():
                    return
                else:
                    self._wake.wait()
        except _StoppedError:
            pass
        finally:
            self.sink.close()

    def _read(self) -> Message | None:
        """The next message; a disk that fails is tried again."""
        while True:
            try:
                return self._reader.read(self.next_number)
            except OSError as error:
                self._say_failure(error)
                if self._closing.wait(self._first_wait_s):
                    raise _StoppedError from None

    def _deliver(self, message: Message) -> None:
        """Try until it is delivered or refused; ``_StoppedError``: it waits for the next start."""
        wait_s = self._first_wait_s
        while True:
            is_last_attempt = self._closing.is_set()
            try:
                self.sink.send(message)
            except MessageRefusedError as error:
                self._say(f"{self.sink.name}: {error}; message {message.number} is left out")
                return
            except ReceiverGoneError as error:
                self._say(f"{self.sink.name}: {error}; nothing more is sent until the next start")
                raise _StoppedError from None
            except Exception as error:
                asked_s = error.retry_after_s if isinstance(error, DeliveryError) else 0.0
                self._say_failure(error)
            else:
                self._say_recovery()
                return
            if is_last_attempt:
                raise _StoppedError
            pause_s = max(wait_s * random.uniform(0.5, 1.0), asked_s)
            self._closing.wait(min(pause_s, self._max_wait_s))
            wait_s = min(2 * wait_s, self._max_wait_s)

    def _say_failure(self, error: Exception) -> None:
        text = str(error)
        if not isinstance(error, DeliveryError | OddframeError):
            text = f"{type(error).__name__}: {text}"
        if text != self._said:
            self._say(f"{self.sink.name}: {text}; messages wait on disk and are tried again")
        self._said = text

    def _say_recovery(self) -> None:
        if self._said:
            self._say(f"{self.sink.name}: works again; {self.n_waiting()} messages were waiting")
        self._said = ""

    def _say_dropped(self, count: int) -> None:
        """Say it at most once a minute: a sink that is too slow loses messages all the time."""
        self._dropped += count
        now = time.monotonic()
        if self._dropped and now >= self._say_dropped_at:
            self._say(
                f"{self.sink.name}: {self._dropped:,} messages were dropped, undelivered, because "
                "the journal on disk was full"
            )
            self._dropped, self._say_dropped_at = 0, now + _DROPPED_EVERY_S

    def _advance(self, number: int) -> None:
        self.next_number = number
        if not self._abandoned:
            try:
                self._write_cursor()
            except OddframeError as error:  # Delivered again after a restart, but not lost.
                self._say(str(error))
            else:
                self.after_progress()

    def _read_cursor(self) -> int:
        """The next message: of a new sink, the next that is announced."""
        after_last = self._journal.last + 1
        if not self._cursor.exists():
            return after_last
        try:
            data: Any = parse_json(read_bytes(self._cursor, _MAX_CURSOR_BYTES))
            number = int(data["next"])
        except (OddframeError, ValueError, KeyError, TypeError):
            return self._journal.first  # Rather twice than not at all.
        return min(number, after_last)

    def _write_cursor(self) -> None:
        write_text(self._cursor, json_text({"sink": self.sink.name, "next": self.next_number}))


class _StoppedError(Exception):
    """The worker ends, and what it has not delivered waits for the next start."""
