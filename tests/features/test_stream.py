"""Feature files that are written a part at a time are those that the library writes at once."""

from __future__ import annotations

import hashlib
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from oddframe.backbones.base import VisualEncoder
from oddframe.features.extraction.extract_video import ExtractionTask, backbone_spec, extract_tasks
from oddframe.features.extraction.partial import PartialFeatures
from oddframe.features.formats.feature_file import (
    checksum,
    read_features,
    write_features,
    write_tensors,
)
from oddframe.features.lazy_array import CropArray
from oddframe.video.decoding.isolated import open_source
from tests.features.test_extract_video import HOW, SEES


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("pts", [False, True])
def test_the_bytes_are_the_librarys(tmp_path: Path, dtype, pts: bool) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(3, 5000, 7)).astype(dtype)
    tensors = {"features": array, **({"pts": rng.normal(size=9)} if pts else {})}
    on_disk = CropArray(array.shape, array.dtype, lambda crop: array[crop])
    about = {"oddframe": '{"name": "ä\\n\\u00e4", "checksum": "ab"}'}
    path = tmp_path / "new" / "f.safetensors"
    write_tensors(path, {**tensors, "features": on_disk}, about)
    assert path.read_bytes() == save(tensors, about)
    assert checksum({**tensors, "features": on_disk}) == checksum(tensors)


@pytest.mark.parametrize("chunk", [3, 4, 100])
def test_features_that_stay_on_disk_are_the_same(tmp_path: Path, clip: Path, chunk: int) -> None:
    spec = backbone_spec(SEES, HOW)
    (plain,) = extract_tasks(open_source(clip), [ExtractionTask(spec, SEES)])
    partial = PartialFeatures(tmp_path / "p", chunk)
    (made,) = extract_tasks(open_source(clip), [ExtractionTask(spec, SEES, partial, on_disk=True)])
    assert isinstance(made.features.array, CropArray)
    for name, features in (("a", plain.features), ("b", made.features)):
        write_features(tmp_path / name, features)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    again = PartialFeatures(tmp_path / "p", chunk)
    (resumed,) = extract_tasks(open_source(clip), [ExtractionTask(spec, SEES, again, on_disk=True)])
    write_features(tmp_path / "c", resumed.features)
    assert (tmp_path / "c").read_bytes() == (tmp_path / "a").read_bytes()
    partial.discard()
    assert read_features(tmp_path / "b").array.shape == plain.features.array.shape


def test_the_checksum_is_that_of_the_bytes_in_a_row() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "b": rng.normal(size=(2, 3, 4, 5)),
        "a": np.float32(7.5).reshape(()),
        "c": rng.normal(size=(5, 2)).T,
    }
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    assert checksum(arrays) == digest.hexdigest()


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    def see(snippets: np.ndarray) -> np.ndarray:
        return np.repeat(snippets.mean(axis=(1, 2, 3, 4))[:, None], 4096, axis=1).astype(np.float32)

    wide = replace(SEES, dims=(4096,), visual_encoders=(VisualEncoder(see),))
    how = replace(HOW, resize=(8, 8), crop_size=(8, 8), snippet_frames=1, stride=1)
    frames = np.random.default_rng(0).integers(0, 256, (1500, 8, 8, 3), dtype=np.uint8)
    task = ExtractionTask(
        backbone_spec(wide, how), wide, PartialFeatures(tmp_path / "p", 32), on_disk=True
    )
    tracemalloc.start()
    (made,) = extract_tasks(open_source(frames), [task])
    write_features(tmp_path / "f", made.features)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = (tmp_path / "f").stat().st_size
    assert size == pytest.approx(2 * 1500 * 4096 * 4, rel=1e-3)
    # Some of it is in memory as rows that are written, and a chunk.
    assert peak < size / 2
