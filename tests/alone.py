"""A program of its own: what must not be tried within the tests' process, as Ctrl-C."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def alone(folder: Path, imports: Sequence[str], *lines: str) -> subprocess.Popen[bytes]:
    """Start a program of these lines, in a group of processes of its own."""
    script = folder / "main.py"
    main = "".join(f"    {line}\n" for line in lines)
    script.write_text("\n".join(imports) + f"\nif __name__ == '__main__':\n{main}")
    root = Path(__file__).resolve().parents[1]
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
