"""``python -m oddframe``: the same as ``oddframe``."""

from oddframe.cli.main import main

main()
