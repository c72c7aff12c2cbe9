from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.errors import InputError
from oddframe.video.mask import read_mask


def test_ignored_parts_are_grey_at_any_size(tmp_path: Path) -> None:
    zones = np.full((6, 8), 255, np.uint8)
    zones[:3, :2] = 0
    PillowImage.fromarray(zones).save(tmp_path / "zones.png")
    mask = read_mask(tmp_path / "zones.png")
    for height, width in ((6, 8), (240, 320), (2, 4), (100, 8)):
        image = np.full((height, width, 3), 7, np.uint8)
        masked = mask.apply(image)
        top, left = round(height / 2), round(width / 4)
        assert (masked[:top, :left] == 128).all()
        assert (masked[top:] == 7).all()
        assert (masked[:, left:] == 7).all()
        assert (image == 7).all()


def test_transparent_parts_are_ignored(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[0, :, 3] = 0
    pixels[1, :, :3] = 127
    PillowImage.fromarray(pixels).save(tmp_path / "zones.png")
    masked = read_mask(tmp_path / "zones.png").apply(np.zeros((4, 4, 3), np.uint8))
    assert (masked[:2] == 128).all()
    assert (masked[2:] == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "I;16"])
def test_every_kind_of_picture_can_be_a_mask(tmp_path: Path, mode: str) -> None:
    grey = np.zeros((4, 4), np.uint8)
    grey[2:] = 255
    picture = PillowImage.fromarray(grey)
    if mode == "I;16":
        picture = PillowImage.fromarray(grey.astype(np.uint16) * 257)
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(tmp_path / "zones.png")
    assert np.array_equal(read_mask(tmp_path / "zones.png").ignored, grey == 0)


def test_invalid_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such mask"):
        read_mask(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(InputError, match="not a picture"):
        read_mask(tmp_path / "text.png")
    PillowImage.new("L", (4, 4), 0).save(tmp_path / "black.png")
    with pytest.raises(InputError, match="whole picture"):
        read_mask(tmp_path / "black.png")
