"""Messages as lines on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable

from oddframe.watch.delivery import Sink
from oddframe.watch.messages import CameraEvent, Message


class TerminalSink(Sink):
    """Prints one line for each message, but not for an event that only goes on.

    Args:
        say: Prints a line.
    """

    name = "terminal"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def send(self, message: Message) -> None:
        """Print a line."""
        if not isinstance(message, CameraEvent) or message.kind != "update":
            self._say(describe(message))


class JsonOnTerminal(Sink):
    """Prints each message as a line of JSON.

    Args:
        say: Prints a line.
    """

    name = "terminal"

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def send(self, message: Message) -> None:
        """Print a line."""
        self._say(json.dumps(message.to_json(), allow_nan=False))


def describe(message: Message) -> str:
    """One line for people; times are those of the machine's time zone."""
    if not isinstance(message, CameraEvent):
        text = f": {message.text}" if message.text else ""
        return f"{message.since.astimezone():%H:%M:%S} {message.camera}: {message.state}{text}"
    start = f"{message.start.astimezone():%Y-%m-%d %H:%M:%S}"
    if message.kind != "end":
        return f"{start} {message.camera}: event, score {message.score:.2f} ({message.id})"
    seconds = (message.end - message.start).total_seconds()
    clip = f", {message.clip}" if message.clip else ""
    return (
        f"{start} {message.camera}: event over after {seconds:.1f} s, "
        f"score {message.score:.2f}{clip} ({message.id})"
    )
