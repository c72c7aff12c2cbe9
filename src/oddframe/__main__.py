"""The program ``oddframe``, also as ``python -m oddframe``."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line.

    Importing it takes a noticeable time, in which Ctrl-C ends the program as it does later.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # Closed: the next file to be opened would get what is printed.
            os.open(os.devnull, os.O_RDWR)
    try:
        from oddframe.cli.main import main as run

        run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            sys.stderr.write("oddframe: stopped; what was finished is kept\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
