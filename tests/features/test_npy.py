"""``.npy`` files: headers, and features from arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oddframe.errors import InputError
from oddframe.features.formats.feature_file import read_any_features
from oddframe.features.formats.npy import (
    ARRAY_BACKBONE,
    is_finite,
    read_array_features,
    read_npy_header,
)

RNG = np.random.default_rng(0)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def test_rows_of_one_crop(tmp_path: Path) -> None:
    array = RNG.random((7, 12)).astype(np.float16)
    features = read_any_features(saved(tmp_path / "a.npy", array))
    assert features.array.dtype == np.float16
    assert np.array_equal(features.array[0], array)
    assert (features.spec.backbone, features.spec.dim) == (ARRAY_BACKBONE, 12)
    assert (features.timebase.n_frames, features.timebase.n_snippets) == (112, 7)


@pytest.mark.parametrize("crops", [1, 5, 10])
@pytest.mark.parametrize("first", [True, False])
def test_crops_may_be_the_first_or_the_second_axis(tmp_path: Path, crops: int, first: bool) -> None:
    array = RNG.random((crops, 7, 12))
    path = saved(tmp_path / "a.npy", array if first else array.swapaxes(0, 1))
    features = read_any_features(path)
    assert features.array.dtype == np.float32
    assert np.array_equal(features.array, array.astype(np.float32))
    assert len(features.spec.crops) == crops


def test_the_true_number_of_frames(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", np.zeros((3, 4)))
    features = read_array_features(path, frames=40, fps=24)
    assert (features.timebase.n_frames, features.timebase.fps) == (40, 24)
    with pytest.raises(InputError, match="3 rows, but a video of 60 frames has 4"):
        read_array_features(path, frames=60)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[1.0, np.nan], [2, 3]]), "1 of 2 rows hold values that are not finite"),
        (np.zeros((2, 3, 4)), "2x3x4: neither of its first two axes"),
        (np.zeros(3), "an array of 3 values"),
        (np.zeros((0, 4)), "expected"),
        (np.array([["a", "b"]]), "not one array of numbers"),
        (np.array([{"a": 1}]), "Python objects, which are never loaded"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path: Path, array: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_any_features(saved(tmp_path / "a.npy", array))


def test_missing_files_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such feature file"):
        read_any_features(tmp_path / "none.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(InputError, match="not an array of numbers"):
        read_any_features(tmp_path / "text.npy")


def test_python_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="Python objects, which are never loaded"):
        read_npy_header(tmp_path / "a.npy")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found(bad: float) -> None:
    array = np.zeros((5000, 3), np.float16)
    assert is_finite(array)
    array[4999, 1] = bad
    assert not is_finite(array)
