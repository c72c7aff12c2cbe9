"""Conversion to JSON; scratch folders."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import numpy as np
import pytest

from oddframe._utils.files import json_text, scratch_folder


def test_numpy_values_are_written_as_python_values() -> None:
    data = {
        "enough": np.float64(3.0) >= 2.0,
        "hours": np.float32(0.5),
        "count": np.int64(3),
        "rows": np.arange(2),
        "nested": [{"kept": np.bool_(False)}, (1, 2.5), None, "é"],
        "file": Path("a/b"),
        np.int64(7): True,
    }
    assert json.loads(json_text(data)) == {
        "enough": True,
        "hours": 0.5,
        "count": 3,
        "rows": [0, 1],
        "nested": [{"kept": False}, [1, 2.5], None, "é"],
        "file": "a/b",
        "7": True,
    }
    assert json_text({"a": [1, {"b": "ü"}]}, indent=1) == json.dumps(
        {"a": [1, {"b": "ü"}]}, indent=1
    )


def test_nan_is_written_as_null_or_as_nan() -> None:
    data = {"auc": math.nan, "hours": [np.float64(np.inf), np.array([1.0, -np.inf])]}
    assert json_text(data) == '{"auc": null, "hours": [null, [1.0, null]]}'
    assert json_text(data, nan_is_null=False) == (
        '{"auc": NaN, "hours": [Infinity, [1.0, -Infinity]]}'
    )


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError):
        json_text({"video": object()})


SCRATCH = """
import sys
from pathlib import Path
from subprocess import PIPE
from oddframe._utils.files import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "much").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_the_scratch_folder_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    words = [sys.executable, "-c", SCRATCH, str(tmp_path / "cache")]
    runs = [subprocess.Popen(words, stdin=PIPE, stdout=PIPE, text=True) for _ in range(2)]
    folders = [Path(run.stdout.readline().strip()) for run in runs if run.stdout is not None]
    runs[0].kill()
    runs[0].communicate()
    (tmp_path / "cache" / "oddframe-mine").mkdir()
    precious = tmp_path / "precious"
    precious.write_text("text")
    (tmp_path / "cache" / "oddframe-link").mkdir()
    (tmp_path / "cache" / "oddframe-link" / "lock").symlink_to(precious)
    with scratch_folder(tmp_path / "cache") as mine:
        assert not any(mine.iterdir())
        assert not folders[0].parent.exists()
        assert (folders[1] / "much").exists(), "that process lives"
    assert not mine.parent.exists()
    assert precious.read_text() == "text"
    runs[1].communicate()
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {"oddframe-mine", "oddframe-link"}
