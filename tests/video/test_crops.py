from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from oddframe.errors import UsageError
from oddframe.video.snippets.preprocessing import (
    Preprocessing,
    check_crops,
    crop_names,
    crops_to_cut,
    cut_crop,
    region_grid,
    reorder_crops,
    tile_grid,
    with_regions,
    with_tiles,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 256, 340, 3), np.uint8)


def test_crop_orders_of_the_published_files_and_of_the_extractor() -> None:
    corners = ("top_left", "top_right", "bottom_left", "bottom_right")
    assert crop_names(1) == ("center",)
    assert crop_names(5) == ("center", *corners)
    assert crop_names(10)[5:] == tuple(f"{name}_mirrored" for name in crop_names(5))
    third = ("top_left", "top_right", "center", "bottom_left", "bottom_right")
    assert crop_names(5, "extractor") == crop_names(10, "extractor")[:5] == third
    with pytest.raises(UsageError, match="1, 5 or 10"):
        crop_names(3)
    for views in (5, 10):
        assert reorder_crops(crop_names(views), "extractor") == crop_names(views, "extractor")
        assert reorder_crops(crop_names(views, "extractor"), "published") == crop_names(views)
    with pytest.raises(UsageError, match="five or ten crops"):
        reorder_crops(("full",), "extractor")


def test_crops_are_cut_at_their_named_positions() -> None:
    mirrored = FRAMES[:, :, ::-1]
    places = {
        "top_left": np.s_[:, :224, :224],
        "top_right": np.s_[:, :224, -224:],
        "center": np.s_[:, 16:240, 58:282],
        "bottom_left": np.s_[:, -224:, :224],
        "bottom_right": np.s_[:, -224:, -224:],
    }
    for name, place in places.items():
        assert np.array_equal(cut_crop(FRAMES, name, (224, 224)), FRAMES[place])
        assert np.array_equal(cut_crop(FRAMES, f"{name}_mirrored", (224, 224)), mirrored[place])


def test_the_full_frame() -> None:
    assert cut_crop(FRAMES, "full", (340, 256)) is FRAMES
    assert np.array_equal(cut_crop(FRAMES, "full_mirrored", (340, 256)), FRAMES[:, :, ::-1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crops": ("middle",)}, "no crop is called middle"),
        ({"crops": ("full",)}, "full frame"),
        ({"crops": ()}, "at least one"),
        ({"resize": (200, 256)}, "do not fit"),
    ],
)
def test_crops_that_cannot_be_cut(change, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_crops(Preprocessing(**change))
    check_crops(Preprocessing(crops=crop_names(10)))
    check_crops(Preprocessing(resize=(224, 224), crops=("full", "full_mirrored", "center")))


def test_tiles_cover_the_picture_once_row_by_row() -> None:
    preprocessing = with_tiles(Preprocessing(crop_size=(8, 6)), 2, 3)
    assert preprocessing.resize == (24, 12)
    assert tile_grid(preprocessing.crops) == (2, 3)
    check_crops(preprocessing)
    frame = np.arange(24 * 12 * 3, dtype=np.uint16).astype(np.uint8).reshape(1, 12, 24, 3)
    tiles = [cut_crop(frame, name, preprocessing.crop_size) for name in preprocessing.crops]
    rows = [np.concatenate(tiles[i : i + 3], axis=2) for i in (0, 3)]
    np.testing.assert_array_equal(np.concatenate(rows, axis=1), frame)


def test_regions_use_the_whole_picture() -> None:
    preprocessing = with_regions(Preprocessing(crop_size=(24, 12)), 2, 3)
    assert preprocessing.resize == (24, 12)
    assert tile_grid(preprocessing.crops) == region_grid(preprocessing.crops) == (2, 3)
    assert crops_to_cut(preprocessing.crops) == ("full",)
    check_crops(preprocessing)
    tiles = with_tiles(preprocessing, 2, 3).crops
    assert region_grid(tiles) is None
    assert crops_to_cut(tiles) == tiles
    with pytest.raises(UsageError, match="row by row"):
        check_crops(replace(preprocessing, crops=preprocessing.crops[::-1]))


def test_views_are_not_tiles() -> None:
    assert tile_grid(("full",)) is None
    assert tile_grid(crop_names(10)) is None


@pytest.mark.parametrize("name", ["tile_2_0_of_2x3", "tile_0_3_of_2x3", "tile_0_0"])
def test_a_tile_outside_its_grid_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no crop is called"):
        check_crops(Preprocessing(resize=(24, 12), crop_size=(8, 6), crops=(name,)))


def test_a_grid_has_at_least_one_tile() -> None:
    with pytest.raises(UsageError, match="1x1"):
        with_tiles(Preprocessing(), 0, 3)
