"""OpenVINO agrees with PyTorch; converted networks are cached; ``auto`` chooses an engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.backbones import engines
from oddframe.backbones.base import to_input
from oddframe.backbones.registry import load_backbone
from oddframe.errors import InputError, UsageError
from oddframe.video.snippets.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(64, 48), filter="bicubic", crop_size=(64, 48), crops=("full",))


def test_openvino_and_torch_give_the_same_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDFRAME_CACHE", str(tmp_path))
    snippets = np.random.default_rng(0).integers(0, 256, (3, 16, 48, 64, 3), dtype=np.uint8)
    plain = load_backbone("i3d", SMALL, engine="torch", precision="float32", device="cpu")
    first = load_backbone("i3d", SMALL, engine="openvino", precision="float32")
    cached = load_backbone("i3d", SMALL, engine="openvino", precision="float32")
    assert list(tmp_path.glob("i3d-*.xml")), "the converted network is cached"
    np.testing.assert_array_equal(first(snippets), cached(snippets))
    expected = plain(snippets)
    assert expected.shape == (3, 1024)
    atol = 1e-5 * expected.max()  # Noise makes features of up to 7.
    np.testing.assert_array_equal(first(snippets), cached(snippets))
    for backbone in (first, cached):
        assert backbone.runtime.engine == "openvino"
        np.testing.assert_allclose(backbone(snippets), expected, rtol=1e-5, atol=atol)
        # One snippet alone, another batch size: the same feature.
        np.testing.assert_allclose(backbone(snippets[:1]), expected[:1], rtol=1e-5, atol=atol)


def test_a_damaged_cache_is_rebuilt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDFRAME_CACHE", str(tmp_path))
    load_backbone("i3d", SMALL, engine="openvino")
    (file,) = tmp_path.glob("*.xml")
    file.write_text("<net")
    snippets = np.zeros((1, 16, 48, 64, 3), np.uint8)
    assert load_backbone("i3d", SMALL, engine="openvino")(snippets).shape == (1, 1024)
    assert file.stat().st_size > 1000


def test_a_cache_that_cannot_be_written_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("ODDFRAME_CACHE", str(blocked / "below"))
    backbone = load_backbone("i3d", SMALL, engine="openvino")
    assert backbone(np.zeros((1, 16, 48, 64, 3), np.uint8)).shape == (1, 1024)


def test_pixels_are_scaled_to_minus_one_to_one() -> None:
    snippet = np.zeros((1, 2, 1, 2, 3), np.uint8)
    snippet[0, 0, 0, 1] = (255, 0, 51)
    x = to_input(snippet)
    assert x.shape == (1, 3, 2, 1, 2)
    torch.testing.assert_close(x[0, :, 0, 0, 1], torch.tensor([1.0, -1.0, -0.6]))


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
