"""The program ``oddframe``, also ``python -m oddframe``."""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_STOPPED = "oddframe: stopped; what was finished is kept\n"


def main() -> None:
    """Run the command line; Ctrl-C also ends the imports, which take a while, with a message."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # If it is closed, the next file that is opened would receive the output.
            os.open(os.devnull, os.O_RDWR)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        from oddframe.cli.main import run_command_line as run

        run()
    except SystemExit:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Only Python's own shutdown remains.
        raise
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write(_STOPPED)
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Exit at once during an import, where C++ libraries abort on KeyboardInterrupt; else raise."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, _STOPPED.encode())
            os._exit(130)
        frame = frame.f_back
    signal.default_int_handler(number, frame)


if __name__ == "__main__":
    main()
