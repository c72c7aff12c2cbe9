"""I3D gives the features of the published code, with weights in each layout, and of regions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from oddframe.backbones.engines import Runtime, openvino_runner
from oddframe.backbones.registry import load_backbone
from oddframe.backbones.visual.i3d import I3D_WEIGHTS, build_i3d_graph
from oddframe.backbones.visual.i3d_network import (
    I3D,
    convert_port,
    pool_features,
    read_i3d,
    same_padding,
)
from oddframe.backbones.weights import load_weights
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.video.decoding.isolated import open_source
from oddframe.video.snippets.preprocessing import Preprocessing, with_regions

SMALL = Preprocessing(resize=(96, 80), crop_size=(96, 80), filter="bicubic", crops=("full",))


@pytest.fixture(scope="module")
def shipped() -> I3D:
    return read_i3d(I3D_WEIGHTS)


def formula_input(shape: list[int], s: float) -> Tensor:
    n = np.arange(1, np.prod(shape) + 1, dtype=np.float64)
    x = np.sin(0.1234567 * n + s + 2 * np.sin(0.0031 * n) + 3 * np.sin(0.7548777 * n))
    return torch.from_numpy(x.reshape(shape).astype(np.float32))


def published_crop(path: Path, start: int) -> Tensor:
    """The centre crop of a 340x256 frame, as the published extractor cuts it."""
    with av.open(str(path)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)]
    images = [
        np.asarray(frame.resize((340, 256), Image.Resampling.LANCZOS))[16:240, 58:282]
        for frame in frames[start : start + 16]
    ]
    x = torch.from_numpy(np.stack(images)).permute(3, 0, 1, 2)[None].float()
    return x * 2 / 255 - 1


def inputs(parity: Path, shared_data: Path) -> Iterator[tuple[Mapping[str, Any], Tensor]]:
    """Every input with published figures for the Kinetics-400 weights: formulas, then clips."""
    facts = json.loads((parity / "i3d_kinetics400.json").read_text())
    for fact in facts["formula_inputs"]:
        yield fact, formula_input(fact["shape"], facts["seed_S"])
    for fact in facts["clip_inputs"]:
        path = shared_data / "surveillance_fight" / fact["path"]
        yield fact, published_crop(path, fact["start"])


def outputs(network: I3D, x: Tensor) -> dict[str, Tensor]:
    """Features and logits of a clip, from one pass."""
    with torch.inference_mode():
        endpoint = network.trunk(x)
        logits = network.logits(endpoint).mean(dim=(2, 3, 4))
        return {"features": pool_features(endpoint, None)[0], "logits": logits[0]}


def cosine(ours: Tensor, theirs: Tensor) -> float:
    return float(torch.cosine_similarity(ours.double(), theirs.double(), dim=0))


@pytest.mark.slow
def test_shipped_weights_give_the_features_of_the_original(
    shipped: I3D, parity: Path, shared_data: Path
) -> None:
    """They differ by half precision only; ``test_convert_i3d`` compares every feature."""
    for fact, x in inputs(parity, shared_data):
        for name, found in outputs(shipped, x).items():
            figures = fact[name]
            assert cosine(found[:16], torch.tensor(figures["first16"])) > 0.99999
            assert float(found.norm()) == pytest.approx(figures["l2"], rel=1e-3)
            assert float(found.max()) == pytest.approx(figures["max"], rel=5e-3)
            assert int(found.argmax()) == figures["argmax"]
            if name == "logits":
                assert [i for i, _ in fact["top5"]] == found.topk(5).indices.tolist()


def test_features_and_logits_come_from_the_same_endpoint(shipped: I3D, parity: Path) -> None:
    facts = json.loads((parity / "i3d_kinetics400.json").read_text())
    fact = min(facts["formula_inputs"], key=lambda each: np.prod(each["shape"]))
    x = formula_input(fact["shape"], facts["seed_S"])
    found = outputs(shipped, x)
    with torch.inference_mode():
        assert list(shipped.trunk(x).shape) == fact["endpoint_shape"]
        torch.testing.assert_close(shipped(x)[0], found["features"])
        torch.testing.assert_close(
            shipped.logits(shipped.trunk(x)).mean(dim=(2, 3, 4))[0], found["logits"]
        )


def test_winograd_convolutions_give_the_features_of_real_clips(
    shipped: I3D, parity: Path, shared_data: Path
) -> None:
    facts = json.loads((parity / "i3d_kinetics400.json").read_text())
    run = openvino_runner(
        build_i3d_graph(I3D_WEIGHTS, (1, 3, 16, 224, 224), None, fast=True),
        Runtime("openvino", "cpu", "float32"),
    )
    for fact in facts["clip_inputs"]:
        x = published_crop(shared_data / "surveillance_fight" / fact["path"], fact["start"])
        with torch.inference_mode():
            features = shipped(x)[0]
        fast = torch.from_numpy(run(x.numpy())[0])
        assert cosine(fast[:16], torch.tensor(fact["features"]["first16"])) > 0.99999
        torch.testing.assert_close(fast, features, rtol=1e-5, atol=1e-5)


def uniform(n: int, b: int, s: float) -> NDArray[np.float64]:
    """Make n pseudo-random numbers in [-1, 1), as ``i3d.json`` defines them."""
    phase = np.sin(12.9898 * np.arange(1, n + 1) + 78.233 * b + s) * 43758.5453
    return 2 * (phase - np.floor(phase)) - 1


def port_weights(tensors: list[list[Any]], s: float) -> dict[str, Tensor]:
    """Make weights for one layout by the formula of ``i3d.json``."""
    state = {}
    for b, name, shape in tensors:
        u = uniform(int(np.prod(shape)), b, s)
        if len(shape) > 1:
            u *= np.sqrt(6 / np.prod(shape[1:]))
        elif name.endswith("running_mean"):
            u *= 0.1
        elif name.endswith("running_var"):
            u = 1 + 0.2 * u
        elif name.endswith("weight"):
            u = 1 + 0.1 * u
        else:
            u *= 0.05
        state[name] = torch.from_numpy(u.reshape(shape).astype(np.float32))
    return state


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["hassony2_layout", "piergiaj_layout"])
def test_both_published_layouts_load(layout: str, parity: Path, tmp_path: Path) -> None:
    facts = json.loads((parity / "i3d.json").read_text())
    shape = (2, 3, 16, 224, 224)
    x = torch.from_numpy(uniform(int(np.prod(shape)), 1000, facts["S"]).reshape(shape)).float()
    state = port_weights(facts[layout]["tensors"], facts["S"])
    file = tmp_path / "weights.pt"
    torch.save(state, file)
    network = read_i3d(file)
    with torch.inference_mode():
        features = network(x)
    for row, fact in zip(features, ("video0", "video1"), strict=True):
        published = facts[layout]["mixed_5c_avgpool"][fact]
        scale = max(published["first16"])
        np.testing.assert_allclose(row[:16], published["first16"], atol=1e-4 * scale)
        assert float(row.mean()) == pytest.approx(published["mean"], rel=1e-4)


def test_a_port_without_a_tensor_is_refused() -> None:
    with pytest.raises(Exception, match="lack the tensor"):
        convert_port({"Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 3, 7, 7, 7)})
    with pytest.raises(Exception, match="neither"):
        convert_port({"something": torch.zeros(1)})
    with pytest.raises(Exception, match="lacking"):
        load_weights(I3D(), {}, "I3D", optional="logits.")


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 4))
def test_same_padding_covers_the_input_once(size: int, kernel: int, stride: int) -> None:
    before, behind = same_padding(size, kernel, stride)
    assert 0 <= behind - before <= 1
    cells = -(-size // stride)
    if kernel >= stride:
        assert (size + before + behind - kernel) // stride + 1 == cells


def test_i3d_accepts_any_size() -> None:
    network = I3D().eval()
    with torch.inference_mode():
        assert network.trunk(torch.zeros(1, 3, 10, 65, 33)).shape == (1, 1024, 2, 3, 2)


def test_windows_overlap_by_half_and_cover_the_picture() -> None:
    x = torch.rand(2, 5, 2, 7, 7)
    regions = pool_features(x, (2, 2))
    assert regions.shape == (2, 4, 5)
    for i, (row, column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        window = x[:, :, :, row : row + 5, column : column + 5]
        torch.testing.assert_close(regions[:, i], window.mean(dim=(2, 3, 4)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_every_cell_is_in_a_region(height: int, width: int, rows: int, columns: int) -> None:
    # One picture for each cell, in which only that cell is not 0.
    cells = torch.eye(height * width).view(height * width, 1, 1, height, width)
    seen = pool_features(cells, (rows, columns))
    assert seen.shape == (height * width, rows * columns, 1)
    assert (seen.amax(dim=1) > 0).all()


def test_one_region_is_the_whole_picture() -> None:
    x = torch.rand(3, 4, 2, 5, 6)
    torch.testing.assert_close(pool_features(x, (1, 1))[:, 0], pool_features(x, None))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_video_has_a_row_for_each_region(engine, clip: Path) -> None:  # type: ignore[no-untyped-def]
    regions = with_regions(SMALL, 2, 2)
    backbone = load_backbone("i3d", regions, engine=engine, precision="float32")
    plain = load_backbone("i3d", SMALL, engine=engine, precision="float32")
    source = open_source(clip)
    made = extract_video(source, backbone_spec(backbone, regions), backbone).features
    whole = extract_video(source, backbone_spec(plain, SMALL), plain).features
    assert made.spec.tiles == (2, 2)
    assert made.array.shape == (4, whole.array.shape[1], 1024)
    # A region has 2 x 2 of the 3 x 3 cells, no cell is below 0, and all regions cover all cells.
    sums, all_of_it = 4 * np.asarray(made.array), 9 * np.asarray(whole.array)[0]
    assert (sums <= all_of_it + 1e-3).all()
    assert (sums.sum(axis=0) >= all_of_it - 1e-3).all()
    assert np.asarray(made.array).std(axis=0).mean() > 0.01
