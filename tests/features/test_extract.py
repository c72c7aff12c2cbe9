"""``oddframe.extract`` from Python: its example, its summary, its callbacks and Ctrl-C."""

from __future__ import annotations

import doctest
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import oddframe
from oddframe.errors import InputError, UsageError
from oddframe.features import extract as module
from oddframe.features.extraction.worker import ExtractionResult
from tests.backbones.test_onnx import write
from tests.conftest import ROOT, Image, encode


@pytest.fixture
def backbone(tmp_path: Path) -> str:
    """A backbone that loads at once: the mean of each colour channel."""
    (tmp_path / "weights").mkdir()
    return str(write(tmp_path / "weights", "NCTHW"))


def run_script(folder: Path, script: str) -> subprocess.Popen[str]:
    """Start a program that has no ``if __name__ == "__main__"``."""
    (folder / "script.py").write_text(script)
    return subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_example_in_its_docstring_runs(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(clip, tmp_path / "fight.mp4")
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(
        module.extract, "oddframe.extract", globs={}
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_the_summary_names_what_was_made_and_what_failed(
    clip: Path, backbone: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("This is not a video.\n")
    done: list[tuple[int, int | None, str]] = []
    results: list[ExtractionResult] = []
    messages: list[str] = []
    summary = oddframe.extract(
        [clip, broken],
        backbone,
        stride=8,
        store=tmp_path / "store",
        out=tmp_path / "out",
        progress=lambda *state: done.append(state),
        on_result=lambda result, _: results.append(result),
        message=messages.append,
    )
    assert summary.extracted == (str(clip),)
    assert summary.already_stored == ()
    assert list(summary.failed) == [str(broken)]
    assert "not a video" in summary.failed[str(broken)]
    assert summary.exit_code == InputError.exit_code
    (file,) = summary.files
    features = oddframe.read_features(Path(file))
    assert features.spec.stride == 8
    assert summary.frames == features.timebase.n_frames == 50
    assert (tmp_path / "out" / f"{clip.stem}__0.npy").is_file()
    size = clip.stat().st_size + broken.stat().st_size
    assert done[-1][:2] == (size, size)
    assert all(text.startswith("2 videos: ") for _, _, text in done)
    assert sorted(results, key=summary.results.index) == list(summary.results)
    assert messages == [f"2 videos, tiny ({features.spec.hash()}), into {tmp_path / 'store'}"]
    again = oddframe.extract([clip], backbone, stride=8, store=tmp_path / "store")
    assert (again.extracted, again.already_stored, again.frames) == ((), (str(clip),), 0)


def test_features_like_those_of_a_spec(clip: Path, tmp_path: Path) -> None:
    first = oddframe.extract(clip, "aisfx", stride=8, store=tmp_path / "a")
    spec = oddframe.read_features(Path(first.files[0])).spec
    known = oddframe.extract(clip, spec=spec, store=tmp_path / "a")
    assert known.already_stored == (str(clip),)
    with pytest.raises(UsageError, match="leave out --backbone and --preset"):
        oddframe.extract(clip, "i3d", spec=spec, store=tmp_path / "a")


def test_a_script_needs_no_main_guard(clip: Path, backbone: str, tmp_path: Path) -> None:
    run = run_script(
        tmp_path,
        f"import oddframe\nprint(len(oddframe.extract({str(clip)!r}, {backbone!r}).extracted))\n",
    )
    out, err = run.communicate(timeout=120)
    assert (out, run.returncode) == ("1\n", 0), err


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_and_a_second_call_resumes(
    clip_frames: list[Image], backbone: str, tmp_path: Path
) -> None:
    encode(tmp_path / "long.mp4", clip_frames * 80)
    script = (
        "import oddframe\n"
        "try:\n"
        f"    summary = oddframe.extract('long.mp4', {backbone!r}, stride=1, store='store')\n"
        "    print(summary.extracted)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    run = run_script(tmp_path, script)
    while run.poll() is None and not list(tmp_path.glob("store/unfinished/*/done.json")):
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert out == "interrupted\n", err
    assert not list(tmp_path.glob("store/??/*.safetensors"))
    assert list(tmp_path.glob("store/unfinished/*/done.json"))
    out, err = run_script(tmp_path, script).communicate(timeout=300)
    assert out == "('long.mp4',)\n", err
