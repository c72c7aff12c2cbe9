"""A Python process that runs functions for this one, with limits on its memory and its silence.

Code that may crash, hang or take all memory, such as a video decoder that reads an untrusted file,
runs in a child process. What happens to it there is an exception here.

The child is started with ``subprocess`` and not with ``multiprocessing``: that would import the
user's main script once more, which a script without ``if __name__ == "__main__"`` does not survive.
"""

from __future__ import annotations

import inspect
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import OddframeError, is_out_of_memory

# A child process reports its work no more often than this (s).
_HEARTBEAT_S = 0.2
# The parent counts the seconds of silence one by one: a program that was suspended and goes on has
# not waited.
_POLL_S = 1.0
# A child that was asked to stop a function and does not within so many seconds is killed.
_STOP_S = 2.0
# Where an option says how long silence may last.
PATIENCE_HINT = " (--patience waits longer)"
# An orphaned child looks this often (s) whether its parent is still there.
_ORPHAN_S = 2.0

# The child's main program. Its arguments: file descriptor, the parent's process id and sys.path.
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from oddframe._utils.child_process import _serve; _serve(int(sys.argv[1]), int(sys.argv[2]))"
)


class ChildFailedError(OddframeError):
    """The child process crashed, was killed or was silent for too long."""


class ChildOutOfMemoryError(ChildFailedError):
    """The function needs more memory than the child process may take."""


class ChildProcess:
    """A process that runs one function after another.

    See ``is_supported``; only Linux limits its memory.

    Args:
        memory_bytes: What it may take beside what Python and its modules need.
        silence_s: A function from which nothing comes for so long is given up.
    """

    def __init__(self, memory_bytes: int, timeout_s: float) -> None:
        self.memory_bytes = memory_bytes
        self.timeout_s = timeout_s
        ours, theirs = socket.socketpair()
        # The last words of a process that aborts, such as an unhandled C++ exception.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        path = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        with theirs:
            self._process = subprocess.Popen(
                [get_executable(), "-c", _MAIN, str(theirs.fileno()), str(os.getpid()), path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                process_group=0,  # Ctrl-C in the terminal is for this process alone.
            )
        self._connection = Connection(ours.detach())
        with suppress(OSError):  # It died at once: `run` says why.
            _send(self._connection, memory_bytes)

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        """Run a function in the child process.

        Args:
            function: Picklable, as are its arguments and all that it gives. A generator function's
                items are yielded here as they come; what is sent to this generator is sent to that
                one. Closing this generator closes that one. A function that has a parameter
                ``heartbeat`` is given a callable for it, to call whenever work goes on.

        Returns:
            What the function returns.

        Raises:
            ChildFailedError: the process crashed, was killed or was silent for too long.
            ChildOutOfMemoryError: the function takes more memory than it may.
            OddframeError: the function raised it; another exception comes as it is.
        """
        try:
            self._tell((_folder(), function, args))
            kind, value = self._receive()
            while kind == "item":
                try:
                    reply = yield value
                except GeneratorExit:
                    self._stop()
                    return None
                self._tell(("reply", reply))
                kind, value = self._receive()
        except BaseException:
            self.kill()
            raise
        if kind == "error":
            if not isinstance(value, OddframeError):
                self.kill()
            raise value
        return value

    @property
    def is_usable(self) -> bool:
        """Whether it can run another function."""
        return self._process.returncode is None and not self._connection.closed

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._stderr.close()

    def _stop(self) -> None:
        """Close the function's generator; a process that does not is killed."""
        limit = time.monotonic() + _STOP_S
        with suppress(OSError, EOFError, OddframeError):
            self._tell(("stop", None))
            while self._connection.poll(max(0.0, limit - time.monotonic())):
                if _receive(self._connection)[0] == "end":
                    return
        self.kill()

    def _tell(self, message: object) -> None:
        try:
            _send(self._connection, message)
        except OSError:
            raise self._death() from None

    def _receive(self) -> tuple[str, Any]:
        silent = 0.0
        while True:
            if not self._connection.poll(_POLL_S):
                silent += _POLL_S
                if silent >= self.timeout_s:
                    raise ChildFailedError(describe_timeout(self.timeout_s, PATIENCE_HINT))
                continue
            try:
                kind, value = _receive(self._connection)
            except (EOFError, OSError):
                raise self._death() from None
            if kind != "heartbeat":
                return kind, value
            silent = 0.0

    def _death(self) -> ChildFailedError:
        """Why the process ended."""
        self._process.wait()
        code = self._process.returncode
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 4096))
        words = self._stderr.read().decode(errors="replace").strip()
        if is_out_of_memory(words):
            return out_of_memory(self.memory_bytes)
        last = f": {words.splitlines()[-1]}" if words and code >= 0 else ""
        return ChildFailedError(f"{describe_exit(code)}{last}")


def describe_exit(code: int) -> str:
    """What ended a process, by its exit code; negative: the number of a signal."""
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ": out of memory?" if name == "SIGKILL" else ""
        return f"the process that read it was ended by {name}{hint}"
    return f"the process that read it ended by itself (exit code {code})"


def describe_timeout(timeout_s: float, advice: str = "") -> str:
    """Why a process is given up of which nothing came for so long, and what to do about it."""
    return (
        f"nothing came of it for {timeout_s:g} s, so it was given up: its decoder hangs, or the "
        f"machine is too busy{advice}"
    )


def is_supported() -> bool:
    """Whether this system can hand a socket to a child process."""
    return os.name == "posix"


def out_of_memory(memory_bytes: int) -> ChildOutOfMemoryError:
    """What is raised where a function takes more than so many bytes."""
    return ChildOutOfMemoryError(
        f"it takes more than {memory_bytes / 1e9:g} GB (--memory allows more)"
    )


def limit_memory(more: int) -> None:
    """Let this process take ``more`` bytes beside what it has. Linux alone counts them."""
    with suppress(ImportError, OSError, ValueError, StopIteration):
        import resource

        status = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in status if line.startswith("VmData:"))
        limit = int(line.split()[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class ChildProcessPool:
    """Child processes that are kept for the next function, each used by one thread at a time.

    Args:
        most: How many are kept while they have nothing to do.
    """

    def __init__(self, max_idle: int) -> None:
        self._most = max_idle
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    @contextmanager
    def lease(self, memory_bytes: int, timeout_s: float) -> Iterator[ChildProcess]:
        """A process with these limits for the block's time, an idle one or a new one."""
        child = self._take(memory_bytes, timeout_s)
        try:
            yield child
        finally:
            self._give_back(child)

    def close(self) -> None:
        """End the processes that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle if self._owner == os.getpid() else ():
            child.kill()

    def _take(self, memory_bytes: int, timeout_s: float) -> ChildProcess:
        with self._lock:
            if self._owner != os.getpid():  # After a fork, they are the parent's.
                self._idle, self._owner = [], os.getpid()
            for child in self._idle:
                if child.memory_bytes == memory_bytes and child.is_usable:
                    self._idle.remove(child)
                    child.timeout_s = timeout_s
                    return child
        return ChildProcess(memory_bytes, timeout_s)

    def _give_back(self, child: ChildProcess) -> None:
        with self._lock:
            if not child.is_usable:
                return
            if len(self._idle) < self._most:
                self._idle.append(child)
                return
        child.kill()


def _folder() -> str:
    """The working folder; "" where it was removed."""
    with suppress(OSError):
        return str(Path.cwd())
    return ""


def _send(connection: Connection, message: object) -> None:
    """Send an object; arrays in it are not copied first."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    connection.send_bytes(pickle.dumps([len(view) for view in raw]))
    connection.send_bytes(data)
    for view in raw:
        if len(view):
            connection.send_bytes(view)


def _receive(connection: Connection) -> Any:
    """Receive what ``_send`` sent."""
    sizes: list[int] = pickle.loads(connection.recv_bytes())  # noqa: S301 - from our own process
    data = connection.recv_bytes()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        if len(buffer):
            connection.recv_bytes_into(buffer)
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from our own process


def _serve(descriptor: int, parent: int) -> None:
    """The child's main program: run the parent's requests until it closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection = Connection(descriptor)
    with suppress(EOFError, OSError, _ParentGone):
        memory_bytes = _receive(connection)
        limited = False
        while True:
            folder, function, args = _receive(connection)
            with suppress(OSError):  # What relative paths are relative to may have changed.
                os.chdir(folder)
            if not limited:  # The function's modules are loaded now.
                limit_memory(memory_bytes)
                limited = True
            channel = _Channel(connection)
            try:
                answer = ("end", channel.run(function, args))
            except OddframeError as error:
                answer = ("error", error)
            except Exception as error:
                if is_out_of_memory(error):
                    answer = ("error", out_of_memory(memory_bytes))
                else:
                    answer = ("error", _described(error))
            channel.close(answer)


def _described(error: Exception) -> Exception:
    """An exception that can be sent: itself, or its type and text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, even while a library hangs."""
    while os.getppid() == parent:
        time.sleep(_ORPHAN_S)
    os._exit(1)


class _ParentGone(BaseException):
    """The parent process has closed the connection."""


class _Channel:
    """The parent, as the function that runs in the child sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._sent, self._closed = 0.0, False

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run a function to its end, hand on what it yields, return what it returns."""
        named = "heartbeat" in inspect.signature(function).parameters
        made = function(*args, **({"heartbeat": self.heartbeat} if named else {}))
        if not isinstance(made, Generator):
            return made
        reply: Any = None
        try:
            while True:
                try:
                    item = made.send(reply)
                except StopIteration as end:
                    return end.value
                order, reply = self._ask(item)
                if order == "stop":
                    return None
        finally:
            made.close()

    def heartbeat(self) -> None:
        """Tell the parent that work goes on; from any thread, any number of times."""
        with self._lock:
            now = time.monotonic()
            if not self._closed and now - self._sent >= _HEARTBEAT_S:
                self._sent = now
                with suppress(OSError):
                    _send(self._connection, ("heartbeat", None))

    def close(self, answer: tuple[str, Any]) -> None:
        """Send the last message of this function."""
        with self._lock:
            self._closed = True
            _send(self._connection, answer)

    def _ask(self, item: Any) -> tuple[str, Any]:
        try:
            with self._lock:
                _send(self._connection, ("item", item))
            answer: tuple[str, Any] = _receive(self._connection)
        except (EOFError, OSError):
            raise _ParentGone from None
        return answer
