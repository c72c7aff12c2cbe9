"""Regions: features of places, cut from what I3D has made of the whole picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from oddframe.backbones.registry import load_backbone
from oddframe.backbones.visual.i3d import I3D, pool_features
from oddframe.backbones.visual.i3d_winograd import FastI3D
from oddframe.errors import UsageError
from oddframe.features.extraction.extract_video import backbone_spec, extract_video
from oddframe.video.snippets.crops import with_regions
from oddframe.video.snippets.transforms import Preprocessing
from oddframe.video.source import open_source

SMALL = Preprocessing(resize=(96, 80), crop_size=(96, 80), filter="bicubic", crops=("full",))


def test_windows_overlap_by_half_and_cover_the_picture() -> None:
    x = torch.rand(2, 5, 2, 7, 7)
    regions = pool_features(x, (2, 2))
    assert regions.shape == (2, 4, 5)
    for i, (row, column) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        window = x[:, :, :, row : row + 5, column : column + 5]
        torch.testing.assert_close(regions[:, i], window.mean(dim=(2, 3, 4)))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_every_cell_is_in_a_region(height: int, width: int, rows: int, columns: int) -> None:
    # One cell after the other is lit; some region sees it.
    cells = torch.eye(height * width).view(height * width, 1, 1, height, width)
    seen = pool_features(cells, (rows, columns))
    assert seen.shape == (height * width, rows * columns, 1)
    assert (seen.amax(dim=1) > 0).all()


def test_one_region_is_the_whole_picture() -> None:
    x = torch.rand(3, 4, 2, 5, 6)
    torch.testing.assert_close(pool_features(x, (1, 1))[:, 0], pool_features(x, None))


def test_the_fast_network_has_the_same_regions() -> None:
    torch.manual_seed(0)
    network, x = I3D().eval(), torch.rand(1, 3, 16, 80, 96) * 2 - 1
    network.regions = (2, 3)
    with torch.inference_mode():
        torch.testing.assert_close(FastI3D(network)(x), network(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_video_has_a_row_for_each_region(engine, clip: Path) -> None:  # type: ignore[no-untyped-def]
    how = with_regions(SMALL, 2, 2)
    backbone = load_backbone("i3d", how, engine=engine, precision="float32")
    plain = load_backbone("i3d", SMALL, engine=engine, precision="float32")
    source = open_source(clip)
    made = extract_video(source, backbone_spec(backbone, how), backbone).features
    whole = extract_video(source, backbone_spec(plain, SMALL), plain).features
    assert made.spec.tiles == (2, 2)
    assert made.array.shape == (4, whole.array.shape[1], 1024)
    # A region has 2 x 2 of the map's 3 x 3 cells, none of which is below 0, and all see all.
    sums, all_of_it = 4 * np.asarray(made.array), 9 * np.asarray(whole.array)[0]
    assert (sums <= all_of_it + 1e-3).all()
    assert (sums.sum(axis=0) >= all_of_it - 1e-3).all()
    assert np.asarray(made.array).std(axis=0).mean() > 0.01


def test_only_what_has_regions_gives_them() -> None:
    with pytest.raises(UsageError, match="efficientnet_lite0 has no features of regions"):
        load_backbone("i3d+efficientnet_lite0", with_regions(SMALL, 2, 2))
