"""The shipped aisfx weights are what the conversion script makes of the published ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from convert_aisfx import convert, read_checkpoint  # noqa: E402

from oddframe.backbones.audio import AISFX_WEIGHTS  # noqa: E402


def test_the_shipped_file_is_the_conversion() -> None:
    wheel = ROOT / "build" / "aisfx-0.1.2-py2.py3-none-any.whl"
    if not wheel.is_file():
        pytest.skip("the published weights are not here; 'make weights' downloads them")
    converted, shipped = convert(read_checkpoint(wheel)), load_file(AISFX_WEIGHTS)
    assert shipped.keys() == converted.keys()
    for name, tensor in converted.items():
        assert torch.equal(shipped[name], tensor.half()), name


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"something else")
    with pytest.raises(SystemExit, match="sha256"):
        read_checkpoint(tmp_path / "other.whl")
