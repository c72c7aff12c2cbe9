"""``check_features``: each fault of feature files is found, counted and named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oddframe.datasets.precomputed import FeatureFindings, check_features
from oddframe.datasets.registry import open_dataset
from oddframe.errors import InputError, UsageError
from oddframe.features.formats.npy import read_npy_header
from tests.datasets.generated import Generated, GeneratorOptions, made_up

FEW = GeneratorOptions(scale=0.05, videos=2)


@pytest.fixture
def xd(shared_data: Path, tmp_path: Path) -> Generated:
    return made_up("xd_violence", shared_data, tmp_path, FEW)


def check(there: Generated, **options: object) -> FeatureFindings:
    dataset = open_dataset(there.data)
    return check_features(dataset, there.features, there.sound, **options)  # type: ignore[arg-type]


def first(there: Generated) -> str:
    return open_dataset(there.data).select_part("test").videos[0].path.stem


def test_complete_files_have_no_faults(xd: Generated) -> None:
    found = check(xd)
    assert (found.videos, found.complete, found.files, found.unlisted) == (8, 8, 48, 0)
    assert not found.faults
    assert 0 < found.shorter_sound < 8


def rewritten(change: Callable[[np.ndarray], np.ndarray], *, crops: int = 1) -> Callable[..., None]:
    def apply(there: Generated) -> None:
        for crop in range(crops):
            file = there.file(first(there), crop)
            np.save(file, change(np.load(file)))

    return apply


def one_nan(array: np.ndarray) -> np.ndarray:
    array[-1, -1] = np.nan
    return array


def gone(there: Generated) -> None:
    for crop in range(5):
        there.file(first(there), crop).unlink()


def silent(there: Generated) -> None:
    (file,) = there.sound.rglob(f"{first(there)}__vggish.npy")
    np.save(file, np.zeros((50, 128), np.float32))


def stacked(there: Generated) -> None:
    array = np.stack([np.load(there.file(first(there), crop)) for crop in range(4)], axis=1)
    gone(there)
    np.save(there.features / f"{first(there)}.npy", array)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (gone, "absent"),
        (lambda there: there.file(first(there)).unlink(), "missing"),
        (lambda there: there.file(first(there)).write_bytes(b"\x93NUMPY, no"), "unreadable"),
        (lambda there: there.file(first(there)).write_bytes(b""), "unreadable"),
        (rewritten(lambda array: array[None]), "shape"),
        (rewritten(lambda array: array[:0]), "shape"),
        (stacked, "crops"),
        (rewritten(lambda array: np.tile(array, 2)), "dimension"),
        (rewritten(lambda array: array[:-1]), "length"),
        (rewritten(lambda array: array[[*range(len(array)), 0]], crops=5), "labels"),
        (silent, "sound"),
        (rewritten(one_nan), "not finite"),
    ],
)
def test_each_fault_is_found_and_nothing_else(
    harm: Callable[[Generated], None], kind: str, xd: Generated
) -> None:
    harm(xd)
    found = check(xd)
    assert list(found.faults) == [kind]
    assert (found.complete, len(found.faults[kind])) == (7, 1)  # type: ignore[index]
    assert first(xd) in str(found.faults[kind][0])  # type: ignore[index]


def test_a_quick_check_reads_headers_only(xd: Generated) -> None:
    rewritten(one_nan)(xd)
    assert not check(xd, contents=False).faults


def test_i3d_resnet50_is_recognised_by_its_dimension(shared_data: Path, tmp_path: Path) -> None:
    other = made_up(
        "ucf_crime", shared_data, tmp_path, GeneratorOptions(0.01, 1, dim=2048, stack=True)
    )
    found = check_features(open_dataset(other.data), other.features)
    assert [(kind, len(faults)) for kind, faults in found.faults.items()] == [("dimension", 4)]
    assert "2048 (I3D-ResNet-50, which RTFM reads" in found.faults["dimension"][0].message
    assert not check_features(open_dataset(other.data), other.features, dim=2048).faults


def test_unlisted_files_are_counted(xd: Generated) -> None:
    np.save(xd.features / "other.npy", np.zeros((3, 1024), np.float32))
    assert check(xd).unlisted == 1


def test_it_needs_a_published_data_set_and_a_folder(
    xd: Generated, shared_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="ped2 has no published features"):
        check_features(open_dataset(f"ped2:{shared_data / 'ped2'}"), tmp_path)
    with pytest.raises(UsageError, match="ucf_crime has no features of the sound"):
        check_features(
            open_dataset(f"ucf_crime:{shared_data / 'ucf_crime'}"), xd.features, xd.sound
        )
    with pytest.raises(InputError, match="nowhere: no such folder of features"):
        check_features(open_dataset(xd.data), tmp_path / "nowhere")


@pytest.mark.slow
def test_all_crop_files_of_ucf_crime(shared_data: Path, tmp_path: Path) -> None:
    """Real names and counts: 16,100 and 2,900 files, each of which is opened."""
    ucf = made_up(
        "ucf_crime", shared_data, tmp_path, GeneratorOptions(scale=0.001, dim=1024, half=True)
    )
    dataset = open_dataset(ucf.data)
    found = check_features(dataset, ucf.features, contents=False)
    assert (found.videos, found.complete, found.files) == (1900, 1900, 19_000)
    shapes = {read_npy_header(path).shape for path in ucf.features.rglob("*.npy")}
    assert all(len(shape) == 2 and shape[1] == 1024 for shape in shapes)
