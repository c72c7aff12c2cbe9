from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.video.decoding.isolated import open_in_process, open_source
from oddframe.video.decoding.scale import Scaler
from oddframe.video.frame import FrameTransform
from tests.conftest import Image

SIZES = [(224, 224), (340, 256), (176, 120), (111, 77)]


def pillow(image: Image, size: tuple[int, int], filter: str) -> Image:
    kind = PillowImage.Resampling[filter.upper()]
    return np.asarray(PillowImage.fromarray(image).resize(size, kind))


@pytest.mark.parametrize("size", SIZES)
def test_lanczos_equals_pillow(clip: Path, clip_frames: list[Image], size: tuple[int, int]) -> None:
    frames = open_source(clip).frames(size, "lanczos")
    for frame, native in zip(frames, clip_frames, strict=True):
        assert np.array_equal(frame.image, pillow(native, size, "lanczos"))


@pytest.mark.parametrize("size", SIZES)
def test_bicubic_is_close_to_pillow(
    clip: Path, clip_frames: list[Image], size: tuple[int, int]
) -> None:
    from_file = [f.image for f in open_source(clip).frames(size, "bicubic")]
    from_array = [f.image for f in open_source(np.stack(clip_frames)).frames(size, "bicubic")]
    for file, array, native in zip(from_file, from_array, clip_frames, strict=True):
        truth = pillow(native, size, "bicubic").astype(int)
        assert file.shape == truth.shape
        assert np.abs(file - truth).mean() < 2
        assert np.abs(array - truth).mean() < 1


def test_bicubic_does_not_alias() -> None:
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 255
    small = Scaler(FrameTransform((64, 64))).scale_rgb(stripes)
    assert np.ptp(small[:, 4:-4].astype(int)) < 16


@pytest.mark.parametrize("filter", ["bicubic", "lanczos"])
def test_the_jpeg_round_trip_comes_before_resizing(
    clip: Path, clip_frames: list[Image], filter
) -> None:
    for frame, native in zip(
        open_source(clip).frames((340, 256), filter, 95), clip_frames, strict=True
    ):
        data = cv2.imencode(".jpg", native[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1]
        back = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
        truth = pillow(np.ascontiguousarray(back), (340, 256), filter)
        limit = 0 if filter == "lanczos" else 1
        assert np.abs(frame.image.astype(int) - truth).mean() <= limit


def test_a_picture_is_converted_only_when_it_is_used(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    decoded = Scaler.scale_decoded

    def counting(self: Scaler, *arguments, **named) -> Image:
        made.append(1)
        return decoded(self, *arguments, **named)

    monkeypatch.setattr(Scaler, "scale_decoded", counting)
    frames = list(open_in_process(clip).frames((64, 64)))
    assert not made
    first = frames[7].image
    assert frames[7].image is first
    assert len(made) == 1


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv422p", "yuv420p10le", "gray", "rgb24", "nv12"])
def test_other_pixel_formats(clip_frames: list[Image], pixels: str) -> None:
    frame = av.VideoFrame.from_ndarray(clip_frames[0], format="rgb24").reformat(format=pixels)
    image = Scaler(FrameTransform((224, 224))).scale_decoded(frame)
    truth = pillow(clip_frames[0], (224, 224), "bicubic").astype(int)
    if pixels == "gray":
        image, truth = image.mean(axis=2), truth @ [0.299, 0.587, 0.114]
    assert np.abs(image - truth).mean() < 4
