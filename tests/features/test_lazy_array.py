"""Features on disk are read on access, and sent to other processes as file names."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.features.lazy_array import CropArray, CropViews, slice_snippets
from tests.features.test_published import crop_files, found, made


def test_crops_are_read_on_access(tmp_path: Path) -> None:
    features = found(crop_files(tmp_path, made(10))).open()
    views = CropViews([features.array, features.array])
    assert len(views) == 20
    assert np.array_equal(views[13], made(10)[3])
    with pytest.raises(ValueError, match="read-only"):
        views[0][0, 0] = 1  # The file is mapped, not copied.
    (tmp_path / "video__3.npy").unlink()
    assert views[4].shape == (7, 8)
    with pytest.raises(InputError, match=r"video__3.npy: no such feature file"):
        views[3]


def test_float16_is_converted_by_crop_views_only(tmp_path: Path) -> None:
    features = found(crop_files(tmp_path, made(10).astype(np.float16))).open()
    assert features.array[0].dtype == features.array.dtype == np.float16
    assert CropViews([features.array])[0].dtype == np.float32


def test_a_slice_of_features_on_disk_stays_on_disk(tmp_path: Path) -> None:
    array = made(10)
    lazy = found(crop_files(tmp_path, array)).open().array
    part = slice_snippets(lazy, 2, 5)
    assert isinstance(part, CropArray)
    assert part.shape == (10, 3, 8)
    assert np.array_equal(np.asarray(part), slice_snippets(array, 2, 5))


def test_pickling_sends_file_names_not_numbers(tmp_path: Path) -> None:
    array = made(10, rows=500)
    features = found(crop_files(tmp_path, array)).open()
    sent = pickle.dumps(CropViews([features.array, slice_snippets(features.array, 1, 3)]))
    assert len(sent) < 10_000
    views = pickle.loads(sent)  # noqa: S301
    assert np.array_equal(views[4], array[4])
    assert np.array_equal(views[14], array[4, 1:3])
