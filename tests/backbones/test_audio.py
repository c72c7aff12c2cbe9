"""VGGish gives the features of its PyTorch port, aisfx those of its authors' network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from oddframe.backbones import audio
from oddframe.backbones.audio import AISFX_WEIGHTS
from oddframe.backbones.audio_networks import Aisfx, VGGish
from oddframe.backbones.base import AudioEncoder
from oddframe.backbones.engines import Runtime
from oddframe.backbones.registry import get_backbones, load_backbone
from oddframe.backbones.weights import load_weights, read_state_dict
from oddframe.errors import InputError
from tests.backbones.test_i3d import port_weights, uniform

PLAIN = Runtime("torch", "cpu", "float32")
# Features of the authors' network for ``uniform`` input of seed 0.25, scaled to 0..1.
AISFX_FIRST8 = [7.2033, 9.0244, 7.7159, 9.3989, 6.4883, 17.9705, 8.7778, 0.0745]
AISFX_NORMS = [192.706, 191.666]


def tone(hertz: float, rate: int, samples: int) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(samples) / rate)).astype(np.float32)


def published_windows(s: float) -> NDArray[np.float32]:
    """The waveform of ``vggish.json``, cut as torchvggish does: a window every 96 columns."""
    t = np.arange(48_000) / 16_000
    wave = 0.3 * np.sin(2 * np.pi * (220 + 60 * t) * t) + 0.1 * uniform(48_000, 7, s)
    starts = range(0, len(wave) - audio.VGGISH.mel.window + 1, 96 * 160)
    return np.stack([wave[i : i + audio.VGGISH.mel.window] for i in starts]).astype(np.float32)


@pytest.fixture(scope="module")
def facts(parity: Path) -> dict:
    return json.loads((parity / "vggish.json").read_text())


def agree(ours: NDArray[np.float32], fact: dict) -> None:
    assert float(ours.mean()) == pytest.approx(fact["mean"], abs=1e-4)
    assert float(ours.std()) == pytest.approx(fact["std"], abs=1e-4)
    np.testing.assert_allclose(ours.ravel()[:16], fact["first16"], atol=1e-4)
    np.testing.assert_allclose(ours.ravel()[-4:], fact["last4"], atol=1e-4)


def test_log_mel_windows_are_those_of_the_published_code(facts: dict) -> None:
    made = audio.VGGishSpec().log_mel(published_windows(facts["S"]))
    assert list(made.shape) == facts["log_mel"]["shape"]
    for window, fact in zip(made, facts["log_mel"]["per_window"], strict=True):
        agree(window, fact)


@pytest.mark.slow
def test_vggish_loads_weights_in_the_layout_of_its_port(facts: dict, tmp_path: Path) -> None:
    state = port_weights(facts["tensors"], facts["S"])
    assert list(VGGish().state_dict()) == list(state)
    torch.save(state, tmp_path / "vggish.pth")
    (spec,) = get_backbones("vggish")
    expected = facts["embedding_before_postprocessing"]
    for runtime in (PLAIN, Runtime("openvino", "cpu", "float32")):
        encoder = spec.load(tmp_path / "vggish.pth", spec.preprocessing, runtime)
        assert isinstance(encoder, AudioEncoder)
        made = encoder.encode(published_windows(facts["S"]))
        assert list(made.shape) == expected["shape"]
        for window, fact in zip(made, expected["per_window"], strict=True):
            agree(window, fact)


def test_the_error_says_where_to_get_the_weights_of_vggish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path))
    with pytest.raises(InputError) as error:
        load_backbone("i3d+vggish")
    line = str(error.value)
    assert "torchvggish" in line
    assert str(tmp_path / "vggish.pt") in line
    assert "\n" not in line
    (tmp_path / "vggish.pt").write_bytes(b"something else")
    with pytest.raises(InputError, match="cannot be read as VGGish weights"):
        load_backbone("vggish", engine="torch")
    torch.save({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "vggish.pt")
    with pytest.raises(InputError, match="do not fit"):
        load_backbone("vggish", engine="torch")


@pytest.mark.slow
def test_aisfx_gives_what_its_authors_network_gives() -> None:
    shape = (2, 100, 96)
    x = (uniform(int(np.prod(shape)), 3, 0.25).reshape(shape) + 1) / 2
    network = load_weights(Aisfx(), read_state_dict(AISFX_WEIGHTS, "aisfx"), "aisfx")
    with torch.inference_mode():
        made = network(torch.from_numpy(x).float())
    # Their weights are in single precision, ours in half.
    np.testing.assert_allclose(made[0, :8], AISFX_FIRST8, atol=0.02)
    np.testing.assert_allclose(made.norm(dim=1), AISFX_NORMS, rtol=1e-3)


def test_aisfx_spectrograms_show_the_pitch_and_stay_within_0_and_1() -> None:
    rate, samples = audio.AISFX.mel.rate, audio.AISFX.mel.window
    windows = np.stack([tone(440, rate, samples), tone(3520, rate, samples), np.zeros(samples)])
    spectrograms = audio.AisfxSpec().log_mel(windows.astype(np.float32))
    assert spectrograms.shape == (3, 100, 96)
    assert spectrograms.min() >= 0
    assert spectrograms.max() < 1.01
    assert not spectrograms[2].any()
    low, high = (int(spectrogram.mean(axis=0).argmax()) for spectrogram in spectrograms[:2])
    # 96 bands of equal mel width from 0 to 22,050 Hz: the middle of band b is at (b + 1) steps.
    step = 1127 * np.log1p(22_050 / 700) / 97
    for band, hertz in ((low, 440), (high, 3520)):
        assert abs((band + 1) * step - 1127 * np.log1p(hertz / 700)) <= step / 2 + 1e-6


def test_sounds_differ_and_a_window_alone_gives_the_features_of_a_batch() -> None:
    encoder = load_backbone("aisfx").audio_encoders[0]
    assert (encoder.rate, encoder.window) == (44_100, 103_424)
    noise = np.random.default_rng(0).normal(0, 0.1, encoder.window).astype(np.float32)
    windows = np.stack([tone(440, encoder.rate, encoder.window), noise])
    made = encoder.encode(windows)
    assert made.shape == (2, 512)
    np.testing.assert_allclose(encoder.encode(windows[1:]), made[1:], atol=1e-3)
    plain = load_backbone("aisfx", engine="torch").audio_encoders[0].encode(windows)
    np.testing.assert_allclose(made, plain, rtol=1e-5, atol=1e-5 * plain.max())
    cosine = made[0] @ made[1] / np.linalg.norm(made[0]) / np.linalg.norm(made[1])
    assert cosine < 0.9
