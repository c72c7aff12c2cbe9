"""Published feature files: all layouts give the same features; each fault has its error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oddframe.errors import InputError
from oddframe.features.formats.published import FaultKind, FeatureFolder, NpyFiles
from oddframe.features.lazy_array import CropArray
from oddframe.features.presets import PublishedLayout, imported_spec

UCF = PublishedLayout(crops=10, fps=30.0, dim=1024)
XD = PublishedLayout(crops=5, fps=24.0, dim=8, audio_dim=4)
Array = NDArray[Any]


def made(crops: int, rows: int = 7, dim: int = 8) -> Array:
    return np.random.default_rng(0).normal(size=(crops, rows, dim)).astype(np.float32)


def crop_files(folder: Path, array: Array, name: str = "video") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, crop in enumerate(array):
        np.save(folder / f"{name}__{i}.npy", crop)
    return folder


def found(folder: Path, layout: PublishedLayout = UCF, sound: Path | None = None) -> NpyFiles:
    heard = None if sound is None else FeatureFolder.scan(sound)
    files, faults = FeatureFolder.scan(folder).find("video", layout, sound=heard)
    assert not faults
    assert files is not None
    return files


def test_all_layouts_give_the_same_features(tmp_path: Path) -> None:
    array = made(10)
    crop_files(tmp_path / "crops" / "Abuse", array)
    for name, stack in (("tcd", array.swapaxes(0, 1)), ("ctd", array)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "video_i3d.npy", stack)
    for name in ("crops", "tcd", "ctd"):
        features = found(tmp_path / name).open()
        assert isinstance(features.array, CropArray)
        assert features.array.shape == (10, 7, 8)
        assert np.array_equal(np.asarray(features.array), array)
        assert (features.timebase.n_frames, features.timebase.fps) == (112, 30.0)
        assert features.spec == imported_spec(8, 10)


def test_ten_rows_of_ten_crops_are_read_as_rows_first(tmp_path: Path) -> None:
    array = made(10, rows=10)
    np.save(tmp_path / "video.npy", array.swapaxes(0, 1))
    assert np.array_equal(np.asarray(found(tmp_path).open().array), array)


@pytest.mark.parametrize("fewer", [0, 1])
def test_sound_is_joined_to_every_crop_as_by_the_published_loader(
    fewer: int, tmp_path: Path
) -> None:
    picture = made(5)
    sound = np.ones((7 - fewer, 4), dtype=np.float32) * np.arange(7 - fewer)[:, None]
    crop_files(tmp_path / "RGB", picture)
    (tmp_path / "sound").mkdir()
    np.save(tmp_path / "sound" / "video__vggish.npy", sound)
    features = found(tmp_path / "RGB", XD, tmp_path / "sound").open()
    assert features.array.shape == (5, 7 - fewer, 12)
    for crop in range(5):
        assert np.array_equal(features.array[crop][:, :8], picture[crop, : 7 - fewer])
        assert np.array_equal(features.array[crop][:, 8:], sound)
    assert features.spec == imported_spec(8, 5, 4)
    assert features.timebase.n_frames == 16 * (7 - fewer)


def faulty(folder: Path, kind: FaultKind) -> None:
    """Write ten crops into ``folder`` with one fault."""
    array = made(10, dim=1024)
    crop_files(folder, array)
    file = folder / "video__3.npy"
    match kind:
        case "missing":
            file.unlink()
        case "twice":
            (folder / "more").mkdir()
            (folder / "more" / file.name).write_bytes(file.read_bytes())
        case "unreadable":
            file.write_bytes(file.read_bytes()[:-1])
        case "shape":
            np.save(file, array)
        case "length":
            np.save(file, array[3, :-1])
        case "dimension":
            np.save(file, np.zeros((7, 2048), np.float32))
        case "crops":
            for path in folder.glob("*.npy"):
                path.unlink()
            np.save(folder / "video.npy", array[:4])


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "video__3.npy: no such feature file"),
        ("twice", "video__3.npy: lies in .*more as well"),
        ("unreadable", "video__3.npy: cut off, 28671 of 28672 bytes"),
        ("shape", "video__3.npy: an array of 10x7x1024; a crop is"),
        ("length", "video__3.npy: 6 rows, other crops 7"),
        ("dimension", r"length 2048 \(I3D-ResNet-50, .*\), not 1024 \(I3D \(Inception-v1\)"),
        ("crops", "video.npy: an array of 4x7x1024: 10 crops"),
    ],
)
def test_each_fault_is_named(kind: FaultKind, said: str, tmp_path: Path) -> None:
    faulty(tmp_path, kind)
    files, faults = FeatureFolder.scan(tmp_path).find("video", UCF, dim=1024)
    faults += files.inspect().faults if files else ()
    (fault,) = [fault for fault in faults if fault.kind == kind]
    assert re.search(said, str(fault))
    if files is not None:
        with pytest.raises(InputError, match=said):
            files.open()


@pytest.mark.parametrize(
    ("rows", "dim", "said"),
    [(5, 4, "5 rows of sound, 7 of the picture"), (8, 4, "8 rows"), (7, 8, "are .T, 4., this is")],
)
def test_features_of_the_sound_have_to_match(
    rows: int, dim: int, said: str, tmp_path: Path
) -> None:
    crop_files(tmp_path / "RGB", made(5))
    (tmp_path / "sound").mkdir()
    np.save(tmp_path / "sound" / "video.npy", np.zeros((rows, dim), np.float32))
    files = found(tmp_path / "RGB", XD, tmp_path / "sound")
    assert [fault.kind for fault in files.inspect().faults] == ["sound"]
    with pytest.raises(InputError, match=said):
        files.open()


def test_files_that_change_after_opening_are_noticed(tmp_path: Path) -> None:
    features = found(crop_files(tmp_path, made(10))).open()
    np.save(tmp_path / "video__2.npy", made(1, rows=6)[0])
    with pytest.raises(InputError, match="changed while it was used"):
        features.array[2]


def test_the_digest_changes_with_the_features(tmp_path: Path) -> None:
    array = made(10)
    files = found(crop_files(tmp_path, array))
    before = files.digest()
    assert found(tmp_path).digest() == before
    array[9, -1, -1] += 1
    np.save(tmp_path / "video__9.npy", array[9])
    assert files.digest() != before
