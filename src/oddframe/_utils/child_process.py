"""Runs functions in a child process with limits on its memory and on the time without a heartbeat.

It is for code that may crash, hang or take all memory, such as a video decoder that reads an
untrusted file. Whatever ends the child process is reported as an exception in this process.
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
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any

import numpy as np

from oddframe.errors import OddframeError, is_out_of_memory

HEARTBEAT_S = 0.2  # Heartbeats are sent at most this often.
# The parent adds up the time without a heartbeat in steps of this length (s), so that the time in
# which the program was suspended does not count.
_POLL_S = 1.0
_STOP_S = 2.0  # A child that does not stop a function within this time is killed.
_PARENT_CHECK_S = 2.0  # A child checks this often whether its parent is still alive.
PATIENCE_HINT = " (--patience waits longer)"

# The child's main program. Arguments: file descriptor, the parent's process id and sys.path.
_MAIN = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[3]); "
    "from oddframe._utils.child_process import _serve; _serve(int(sys.argv[1]), int(sys.argv[2]))"
)


class ChildFailedError(OddframeError):
    """The child process crashed, was killed or sent no heartbeat for too long."""


class ChildOutOfMemoryError(ChildFailedError):
    """The function needs more memory than the limit of the child process."""


class ChildProcess:
    """A process that runs one function after another; it needs POSIX, see ``is_supported``.

    The limit ``memory_bytes``, on Linux only, is beyond what Python and its loaded modules take.
    After ``timeout_s`` without an item or a heartbeat, the process is killed.
    """

    def __init__(self, memory_bytes: int, timeout_s: float) -> None:
        self.memory_bytes = memory_bytes
        self.timeout_s = timeout_s
        ours, theirs = socket.socketpair()
        # Keeps the last messages of a process that aborts, such as an unhandled C++ exception.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        path = json.dumps([str(Path(entry).absolute()) for entry in sys.path])
        with theirs:
            self._process = subprocess.Popen(
                # ``multiprocessing`` would import the user's main script again.
                [get_executable(), "-c", _MAIN, str(theirs.fileno()), str(os.getpid()), path],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                process_group=0,  # Ctrl-C in the terminal reaches only the parent.
            )
        self._connection = Connection(ours.detach())
        with suppress(OSError):  # The process died at once: ``run`` reports why.
            _send(self._connection, memory_bytes)

    def run(self, function: Callable[..., Any], *args: Any) -> Generator[Any, Any, Any]:
        """Run a function in the child process; return its result, or raise what it raises.

        The function must be picklable, as must its arguments, items and result. The items of a
        generator function are yielded here; values sent to this generator are sent to the child's,
        and closing this one closes the child's. A parameter named ``heartbeat`` receives a callable
        that the function calls while it works.
        """
        try:
            folder = str(Path.cwd())
        except OSError:  # It was removed.
            folder = ""
        try:
            self._send((folder, function, args))
            kind, value = self._receive()
            while kind == "item":
                try:
                    reply = yield value
                except GeneratorExit:
                    self._stop()
                    return None
                self._send(("reply", reply))
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
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._stderr.close()

    def _stop(self) -> None:
        """Close the function's generator; kill the process if that takes too long."""
        limit = time.monotonic() + _STOP_S
        with suppress(OSError, EOFError, OddframeError):
            self._send(("stop", None))
            while self._connection.poll(max(0.0, limit - time.monotonic())):
                if _receive(self._connection)[0] == "end":
                    return
        self.kill()

    def _send(self, message: object) -> None:
        try:
            _send(self._connection, message)
        except OSError:
            raise self._exit_error() from None

    def _receive(self) -> tuple[str, Any]:
        waited_s = 0.0
        while True:
            if not self._connection.poll(_POLL_S):
                waited_s += _POLL_S
                if waited_s >= self.timeout_s:
                    raise ChildFailedError(describe_timeout(self.timeout_s, PATIENCE_HINT))
                continue
            try:
                kind, value = _receive(self._connection)
            except (EOFError, OSError):
                raise self._exit_error() from None
            if kind != "heartbeat":
                return kind, value
            waited_s = 0.0

    def _exit_error(self) -> ChildFailedError:
        """Explain why the process ended."""
        self._process.wait()
        code = self._process.returncode
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 4096))
        output = self._stderr.read().decode(errors="replace").strip()
        if is_out_of_memory(output):
            return out_of_memory(self.memory_bytes)
        last_line = f": {output.splitlines()[-1]}" if output and code >= 0 else ""
        return ChildFailedError(f"{describe_exit(code)}{last_line}")


class HeartbeatSender:
    """Calls ``send`` for heartbeats from any thread, at most every 0.2 s, until it is stopped."""

    def __init__(self, send: Callable[..., object]) -> None:
        self.lock = threading.Lock()  # Is held while a heartbeat is sent.
        self._send, self._sent_s, self._stopped = send, 0.0, False

    def __call__(self, *progress: Any) -> None:
        with self.lock:
            now = time.monotonic()
            if not self._stopped and now - self._sent_s >= HEARTBEAT_S:
                self._sent_s = now
                self._send(*progress)

    def stop(self) -> None:
        """Ignore all later heartbeats."""
        with self.lock:
            self._stopped = True


def describe_exit(code: int) -> str:
    """Describe what ended a process, by its exit code; a negative one is the number of a signal."""
    with suppress(ValueError):
        name = signal.Signals(-code).name
        hint = ": out of memory?" if name == "SIGKILL" else ""
        return f"the process that read it was ended by {name}{hint}"
    return f"the process that read it ended by itself (exit code {code})"


def describe_timeout(timeout_s: float, advice: str = "") -> str:
    """Explain why a process was killed that sent nothing for ``timeout_s``, with an advice."""
    return (
        f"no progress for {timeout_s:g} s, so it was stopped: its decoder hangs, or the "
        f"machine is too busy{advice}"
    )


def is_supported() -> bool:
    """Whether this system can pass a socket to a child process."""
    return os.name == "posix"


def out_of_memory(memory_bytes: int) -> ChildOutOfMemoryError:
    """The exception for a function that exceeds a memory limit."""
    return ChildOutOfMemoryError(
        f"it takes more than {memory_bytes / 1e9:g} GB (--memory allows more)"
    )


def limit_memory(more: int) -> None:
    """Limit this process to ``more`` bytes beyond its present memory; does nothing but on Linux."""
    with suppress(ImportError, OSError, ValueError, StopIteration):
        import resource

        status = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in status if line.startswith("VmData:"))
        limit = int(line.split()[1]) * 1024 + more
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


class ChildProcessPool:
    """Keeps up to ``max_idle`` child processes; each is used by one thread at a time."""

    def __init__(self, max_idle: int) -> None:
        self._most = max_idle
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()

    @contextmanager
    def lease(self, memory_bytes: int, timeout_s: float) -> Iterator[ChildProcess]:
        """Provide a process with these limits, an idle one or a new one, for the block."""
        with self._lock:
            if self._owner != os.getpid():  # After a fork, the processes belong to the parent.
                self._idle, self._owner = [], os.getpid()
            fitting = [c for c in self._idle if c.memory_bytes == memory_bytes and c.is_usable]
            if fitting:
                self._idle.remove(fitting[0])
        child = fitting[0] if fitting else ChildProcess(memory_bytes, timeout_s)
        child.timeout_s = timeout_s
        try:
            yield child
        finally:
            with self._lock:
                kept = child.is_usable and len(self._idle) < self._most
                if kept:
                    self._idle.append(child)
            if not kept:
                child.kill()

    def close(self) -> None:
        """Kill the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle if self._owner == os.getpid() else ():
            child.kill()


def _send(connection: Connection, message: object) -> None:
    """Send an object; the arrays in it are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    raw = [buffer.raw() for buffer in buffers]
    connection.send_bytes(pickle.dumps([len(view) for view in raw]))
    connection.send_bytes(data)
    for view in raw:
        if len(view):
            connection.send_bytes(view)


def _receive(connection: Connection) -> Any:
    """Receive an object that ``_send`` sent."""
    sizes: list[int] = pickle.loads(connection.recv_bytes())  # noqa: S301 - from our own process
    data = connection.recv_bytes()
    buffers = [np.empty(size, np.uint8) for size in sizes]
    for buffer in buffers:
        if len(buffer):
            connection.recv_bytes_into(buffer)
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from our own process


class _ParentGone(BaseException):
    """The parent process has closed the connection."""


def _serve(descriptor: int, parent: int) -> None:
    """The child's main loop: run the parent's requests until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    connection = Connection(descriptor)

    def send_heartbeat() -> None:
        with suppress(OSError):  # If the parent has ended, the next item finds out.
            _send(connection, ("heartbeat", None))

    with suppress(EOFError, OSError, _ParentGone):
        memory_bytes = _receive(connection)
        limited = False
        while True:
            folder, function, args = _receive(connection)
            with suppress(OSError):  # The parent may have changed its working folder.
                os.chdir(folder)
            if not limited:  # Now that the function's modules are loaded.
                limit_memory(memory_bytes)
                limited = True
            heartbeat = HeartbeatSender(send_heartbeat)
            try:
                answer = ("end", _run(connection, heartbeat, function, args))
            except OddframeError as error:
                answer = ("error", error)
            except Exception as error:
                no_memory = is_out_of_memory(error)
                answer = ("error", out_of_memory(memory_bytes) if no_memory else _picklable(error))
            heartbeat.stop()
            _send(connection, answer)


def _run(
    connection: Connection,
    heartbeat: HeartbeatSender,
    function: Callable[..., Any],
    args: tuple[Any, ...],
) -> Any:
    """Run a function to its end, send the items that it yields, return its result."""
    takes_heartbeat = "heartbeat" in inspect.signature(function).parameters
    result = function(*args, **({"heartbeat": heartbeat} if takes_heartbeat else {}))
    if not isinstance(result, Generator):
        return result
    reply: Any = None
    with closing(result):
        while True:
            try:
                item = result.send(reply)
            except StopIteration as end:
                return end.value
            try:
                with heartbeat.lock:
                    _send(connection, ("item", item))
                command, reply = _receive(connection)
            except (EOFError, OSError):
                raise _ParentGone from None
            if command == "stop":
                return None


def _picklable(error: Exception) -> Exception:
    """The exception itself if it can be pickled, else one with its type and text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent process has ended, even while a library hangs."""
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)
    os._exit(1)
