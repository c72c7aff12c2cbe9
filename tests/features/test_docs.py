"""The examples in docs/features.md run as written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from oddframe.backbones.registry import known_backbones
from oddframe.backbones.visual.onnx import OnnxSpec
from oddframe.features.presets import PRESETS
from oddframe.training.config import read_config
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "features.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_yaml_is_valid(tmp_path: Path) -> None:
    made = 0
    for text in blocks("yaml"):
        file = tmp_path / "page.yaml"
        file.write_text(text)
        if text.startswith("features:"):
            read_config(file)
            made += 1
        else:
            assert OnnxSpec(file).name == "clip_b32"
    assert made == 3


@pytest.mark.slow
def test_the_python_runs(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(clip, tmp_path / "cam3.mp4")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    exec(compile(code, "features.md", "exec"), {})
    assert capsys.readouterr().out == "(5, 3, 1280) (1, 3, 512) ()\n"


def test_the_page_names_every_preset_and_backbone() -> None:
    for name in (*PRESETS, *(spec.name for spec in known_backbones())):
        assert f"| `{name}` |" in PAGE
