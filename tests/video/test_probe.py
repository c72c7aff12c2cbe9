from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from oddframe.errors import InputError
from oddframe.video.decoding.probe import probe
from tests.conftest import Image, encode


def test_probe_a_clip(clip: Path) -> None:
    info = probe(clip)
    assert (info.width, info.height, info.fps, info.frames) == (352, 240, 25.0, 50)
    assert info.duration_s == pytest.approx(2.0, abs=0.05)
    assert (info.codec, info.rotation, info.has_audio) == ("h264", 0, True)
    assert not info.variable_frame_rate


def test_probe_sees_a_variable_rate(tmp_path: Path, clip_frames: list[Image]) -> None:
    gaps = np.random.default_rng(0).uniform(0.02, 0.1, 29)
    path = encode(tmp_path / "v.mp4", clip_frames[:30], times=np.append(0, np.cumsum(gaps)))
    assert probe(path).variable_frame_rate
    steady = encode(tmp_path / "s.mkv", clip_frames[:30], fps=29.97)
    assert not probe(steady).variable_frame_rate


def test_probe_a_folder_of_frames(tmp_path: Path) -> None:
    for number in range(3):
        PillowImage.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    info = probe(tmp_path)
    assert (info.width, info.height, info.frames, info.codec) == (8, 8, 3, "png")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="without pictures"):
        probe(empty)


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "audio_only", "no_pictures"])
def test_probe_a_bad_file(bad_video: Callable[[str], Path], kind: str) -> None:
    path = bad_video(kind)
    with pytest.raises(InputError, match=path.name):
        probe(path)
