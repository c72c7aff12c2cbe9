"""``oddframe export`` end to end: the files, and the page's code without oddframe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import oddframe
from oddframe.cli.demo import DEMO_DATA
from oddframe.errors import InputError, UsageError
from oddframe.exporting import graphs
from oddframe.exporting.standalone import score_file
from oddframe.modelfile import load_model, save_model
from oddframe.video.snippets.preprocessing import with_crops
from tests.exporting.test_heads import made_up

CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.fixture
def headless(tmp_path: Path) -> Path:
    """A model whose features oddframe does not make from pictures."""
    model = made_up("linear")
    spec = replace(model.profiles["best"].spec, backbone="imported:i3d")
    profiles = {"best": replace(model.profiles["best"], spec=spec)}
    save_model(replace(model, profiles=profiles), tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_without_a_backbone_the_head_is_written(headless: Path, tmp_path: Path) -> None:
    done = oddframe.export(headless, "onnx", tmp_path / "out")
    assert done.files == ("README.md", "head.onnx", "model.json")
    assert done.backbone_difference is None
    assert done.head_difference is not None
    assert done.head_difference < 1e-4
    page = (done.path / "README.md").read_text()
    assert "There is no backbone here" in page
    assert "(C, T, 64) float32" in page


def test_an_export_is_replaced_only_if_told_so(headless: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        oddframe.export(headless, "onnx", out)
    oddframe.export(headless, "onnx", out, force=True)
    oddframe.export(headless, "openvino", out, force=True)
    names = {path.name for path in out.iterdir()}
    assert names == {"notes.txt", "README.md", "head.xml", "head.bin", "model.json"}
    assert json.loads((out / "model.json").read_text())["head"] == "head.xml"


def test_bad_arguments_are_refused_before_any_work(headless: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="choose from onnx, openvino"):
        oddframe.export(headless, "tflite")
    with pytest.raises(UsageError, match="no profile 'fast'"):
        oddframe.export(headless, profile="fast")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        oddframe.export(headless, out=tmp_path / "file")


def test_what_is_missing_is_named(headless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"oddframe\[onnx\]"):
        oddframe.export(headless)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    model = made_up("linear")  # Its spec has no sha256.
    save_model(model, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="other weights"):
        oddframe.export(tmp_path / "other.safetensors", "openvino", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("crops", ["full,motion,full_mirrored"])
def test_crops_are_those_of_the_detector(crops: str, tmp_path: Path) -> None:
    model = load_model("fight_urdmu")
    spec = with_crops(model.profiles["best"].spec, crops)
    mixed = replace(model, profiles={"best": replace(model.profiles["best"], spec=spec)})
    save_model(mixed, tmp_path / "mixed.safetensors")
    done = oddframe.export(tmp_path / "mixed.safetensors", "openvino", tmp_path / "out")
    detector = oddframe.Detector.load(tmp_path / "mixed.safetensors", precision="float32")
    clip = DEMO_DATA / "fi026.mp4"
    times, scores = score_file(clip, done.path)
    track = detector.score(clip)
    np.testing.assert_allclose(scores, track.scores, atol=1e-4)
    np.testing.assert_allclose(times, track.timebase.snippet_times(), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("to", "runtime"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_the_page_runs_without_oddframe(to: str, runtime: str, tmp_path: Path) -> None:
    done = oddframe.export("fight", to, tmp_path / "out")
    venv.create(tmp_path / "venv", with_pip=True)
    folder = "Scripts" if sys.platform == "win32" else "bin"
    python = tmp_path / "venv" / folder / "python"
    packages = ["numpy", "av", "opencv-python-headless", runtime]
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("pip installs nothing here")
    has_oddframe = subprocess.run([python, "-I", "-c", "import oddframe"], capture_output=True)
    assert has_oddframe.returncode
    found = CODE.search((done.path / "README.md").read_text())
    assert found is not None
    for name in ("fi026.mp4", "nofi057.mp4"):
        code = f"import sys; sys.path.insert(0, '.')\n{found[1]}".replace(
            "clip.mp4", str(DEMO_DATA / name)
        )
        ran = subprocess.run(
            [python, "-I", "-c", code], cwd=done.path, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stderr
        rows = np.array([re.findall(r"[\d.]+", line) for line in ran.stdout.splitlines()], float)
        track = oddframe.Detector.load("fight", precision="float32").score(DEMO_DATA / name)
        np.testing.assert_allclose(rows[:, 2], track.scores, atol=1.5e-4)  # Printed: four digits.
        np.testing.assert_allclose(rows[:, :2], track.timebase.snippet_times(), atol=6e-3)
