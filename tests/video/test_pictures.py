from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.errors import InputError
from oddframe.video.decoding.isolated import open_source
from oddframe.video.decoding.pictures import read_picture
from oddframe.video.mask import read_mask


def save(path: Path, value: int, mode: str = "RGB") -> None:
    PillowImage.new("L", (32, 24), value).convert(mode).save(path)


def test_pictures_are_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 2, 1, 9, 100):
        save(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("not a frame")
    save(tmp_path / ".hidden.png", 255)
    source = open_source(tmp_path, fps=10)
    frames = list(source.frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 9, 10, 100]
    assert [frame.time_s for frame in frames] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert (source.expected_frames, source.fps, source.name) == (5, 10, str(tmp_path))


def test_an_unreadable_picture_is_counted_and_leaves_its_time_empty(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png", number)
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "0.png").write_text("not a picture")
    source = open_source(tmp_path)
    frames = list(source.frames())
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 4]
    assert [frame.time_s for frame in frames] == [0.0, 1 / 25, 3 / 25]
    assert source.damaged_packets == 2


def test_pictures_of_several_sizes_are_resized_to_one(tmp_path: Path) -> None:
    for number, size in enumerate([(64, 48), (32, 24), (50, 50)]):
        PillowImage.new("RGB", size, (200, 100, 50)).save(tmp_path / f"{number}.png")
    for size, shape in ((None, (48, 64, 3)), ((20, 30), (30, 20, 3))):
        images = [frame.image for frame in open_source(tmp_path).frames(size)]
        assert [image.shape for image in images] == [shape] * 3
        assert all(np.abs(image.astype(int) - [200, 100, 50]).max() <= 2 for image in images)


def test_a_folder_without_readable_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a video nor a picture"):
        open_source(tmp_path)
    (tmp_path / "1.png").write_text("not a picture")
    with pytest.raises(InputError, match=r"no picture could be read \(1 damaged"):
        list(open_source(tmp_path).frames())


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_kind_of_png_is_converted_to_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "1.png"
    grey = np.full((24, 32), 255, np.uint8)
    grey[:, 16:] = 0
    if mode == "I;16":
        PillowImage.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        PillowImage.fromarray(grey).convert(mode).save(path)
    assert np.array_equal(read_picture(path), np.repeat(grey[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65_535, 32 * 24).reshape(24, 32).astype(np.uint16)
    PillowImage.fromarray(deep).save(tmp_path / "1.png")
    truth = np.round(deep / 257)
    assert np.array_equal(read_picture(tmp_path / "1.png")[..., 1], truth)


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:2, :, 3] = 0
    PillowImage.fromarray(pixels).save(tmp_path / "1.png")
    image = read_picture(tmp_path / "1.png")
    assert (image[:2] == 0).all()
    assert (image[2:] == 255).all()


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = PillowImage.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "1.jpg", exif=exif)
    assert read_picture(tmp_path / "1.jpg").shape == (40, 20, 3)


def test_a_picture_that_fails_to_decode_is_one_damaged_frame(tmp_path: Path) -> None:
    good = PillowImage.new("RGB", (64, 48), (200, 10, 10))
    for number in (1, 3):
        good.save(tmp_path / f"{number}.png")
    good.save(tmp_path / "2.avif")
    data = bytearray((tmp_path / "2.avif").read_bytes())
    start = data.find(b"iloc")
    data[start + 12 : start + 40] = bytes(28)
    (tmp_path / "2.png").write_bytes(data)
    (tmp_path / "2.avif").unlink()
    with pytest.raises(InputError, match=r"2\.png: not a picture"):
        read_picture(tmp_path / "2.png")
    source = open_source(tmp_path)
    assert len(list(source.frames())) == 2
    assert source.damaged_packets == 1
    with pytest.raises(InputError, match=r"2\.png: not a picture that can be read as a mask"):
        read_mask(tmp_path / "2.png")
