"""The program ``oddframe``, also as ``python -m oddframe``."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_STOPPED = "oddframe: stopped; what was finished is kept\n"


def main() -> None:
    """Run the command line.

    Importing it takes a noticeable time, in which Ctrl-C ends the program as it does later.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # Closed: the next file to be opened would get what is printed.
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from oddframe.cli.main import main as run

        run()
    except SystemExit:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # All is done but for Python's own end.
        raise
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write(_STOPPED)
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Answer Ctrl-C: at once within an import, else by a KeyboardInterrupt.

    Libraries in C++ that are being imported abort at an exception, or drop it.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, _STOPPED.encode())
            os._exit(130)
        frame = frame.f_back
    signal.default_int_handler(number, frame)


if __name__ == "__main__":
    main()
