"""OpenVINO agrees with PyTorch; ``auto`` chooses an engine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from oddframe.backbones import engines
from oddframe.backbones.base import to_input
from oddframe.backbones.registry import load_backbone
from oddframe.errors import InputError, UsageError
from oddframe.video.snippets.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full",))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["i3d", "efficientnet_lite0"])
def test_openvino_and_torch_give_the_same_features(
    name: str, precision: Literal["float32", "bfloat16"]
) -> None:
    snippets = np.random.default_rng(0).integers(0, 256, (3, 16, 48, 64, 3), dtype=np.uint8)
    plain = load_backbone(name, SMALL, engine="torch", precision=precision, device="cpu")
    fast = load_backbone(name, SMALL, engine="openvino", precision=precision)
    assert fast.runtime.engine == "openvino"
    expected, found = plain(snippets), fast(snippets)
    assert expected.shape == (3, fast.dim)
    if precision == "float32":
        atol = 1e-5 * expected.max()  # Noise makes features of up to 7.
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=atol)
    else:
        cosine = (found * expected).sum(1)
        cosine /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        assert (cosine > 0.998).all()
    # One snippet alone gives the same feature, and a network that is built again does, too.
    np.testing.assert_array_equal(fast(snippets[:1]), found[:1])
    del fast
    again = load_backbone(name, SMALL, engine="openvino", precision=precision)
    np.testing.assert_array_equal(again(snippets), found)


def test_openvino_runs_without_pytorch() -> None:
    """Backbones are built from their weights, so nothing imports PyTorch."""
    code = (
        "import sys, numpy as np\n"
        "from oddframe.backbones.registry import list_backbones, load_backbone\n"
        "from oddframe.video.snippets.preprocessing import Preprocessing\n"
        "assert len(list_backbones()) > 5\n"
        "how = Preprocessing(resize=(32, 32), crop_size=(32, 32), crops=('full',), "
        "filter='bicubic')\n"
        "both = load_backbone('i3d+aisfx', how, engine='openvino')\n"
        "assert both(np.zeros((1, 16, 32, 32, 3), np.uint8)).shape == (1, 1024)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_pixels_are_scaled_to_minus_one_to_one() -> None:
    snippet = np.zeros((1, 2, 1, 2, 3), np.uint8)
    snippet[0, 0, 0, 1] = (255, 0, 51)
    x = to_input(snippet)
    assert x.shape == (1, 3, 2, 1, 2)
    np.testing.assert_allclose(x[0, :, 0, 0, 1], [1.0, -1.0, -0.6], atol=1e-6)


def test_unknown_or_missing_engines_devices_and_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean i3d"):
        load_backbone("i4d", SMALL)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA device"):
            engines.choose_runtime(device="cuda")
    with pytest.raises(UsageError, match="--engine onnx: choose from auto, openvino, torch"):
        engines.choose_runtime(engine="onnx")  # type: ignore[arg-type]
    bad = tmp_path / "weights.pt"
    bad.write_bytes(b"no weights at all")
    with pytest.raises(InputError, match="cannot be read as I3D weights"):
        load_backbone("i3d", SMALL, weights=bad)


def test_pytorch_runs_if_openvino_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_openvino", lambda: False)
    assert engines.choose_runtime(device="cpu").engine == "torch"
    with pytest.raises(UsageError, match="pip install openvino"):
        engines.choose_runtime(engine="openvino")


def test_without_pytorch_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_torch", lambda: False)
    monkeypatch.setattr(engines, "has_cuda", lambda: False)
    assert engines.choose_runtime().engine == "openvino"
    for asked in ({"engine": "torch"}, {"device": "cuda"}):
        with pytest.raises(UsageError, match=r"needs PyTorch: pip install 'oddframe\[train\]'"):
            engines.choose_runtime(**asked)  # type: ignore[arg-type]
