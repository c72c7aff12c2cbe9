"""The backbone that the documentation writes is a working one."""

from __future__ import annotations

import ast
import re
import sys
import types
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.backbones import registry
from oddframe.backbones.registry import get_backbones, list_backbones, load_backbone
from oddframe.features.extraction.extract_video import backbone_spec, extract_video, make_spec
from oddframe.video.decoding.isolated import open_source
from tests.conftest import extend_section


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Add the documented backbone to the registry; its weights are random."""
    section = extend_section("A backbone")
    code, line = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[:2]
    assert code.count("\n") <= 40
    ((name, path),) = ast.literal_eval(f"{{{line}}}").items()
    module = types.ModuleType(path.partition(":")[0])
    parent, _, child = module.__name__.rpartition(".")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(import_module(parent), child, module, raising=False)
    exec(compile(code, module.__name__, "exec"), module.__dict__)
    monkeypatch.setitem(registry._BACKBONES, name, path)
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("ODDFRAME_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    torch.save(module.Tiny3D().state_dict(), tmp_path / "tiny3d.pt")
    return tmp_path


def test_the_backbone_is_listed(weights_folder: Path) -> None:
    (info,) = [each for each in list_backbones() if each.name == "tiny3d"]
    assert (info.reads, info.dim, info.window_frames) == ("picture", 32, 16)
    assert (info.weights, info.license) == ("user", "MIT")
    assert get_backbones("tiny3d")[0].find_weights() == weights_folder / "tiny3d.pt"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_backbone_extracts_features(engine, weights_folder: Path, clip: Path) -> None:  # type: ignore[no-untyped-def]
    backbone = load_backbone("tiny3d", engine=engine, precision="float32", device="cpu")
    spec = backbone_spec(backbone, get_backbones("tiny3d")[0].preprocessing)
    features = extract_video(open_source(clip), spec, backbone).features
    assert features.array.shape == (1, features.timebase.n_snippets, 32)
    assert np.asarray(features.array).std(axis=1).max() > 0
    assert features.spec == make_spec("tiny3d", precision="float32")


def test_its_features_are_joined_with_those_of_the_sound(weights_folder: Path) -> None:
    assert make_spec("tiny3d+aisfx").dim == 32 + 512
