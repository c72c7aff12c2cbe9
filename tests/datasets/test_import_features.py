"""Imports of published features: exact, resumable, and not stopped by one fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from oddframe.datasets.labelled import Dataset
from oddframe.datasets.precomputed import (
    attach_features,
    import_features,
    load_precomputed_features,
    video_digest,
)
from oddframe.datasets.registry import open_dataset
from oddframe.errors import InputError, UsageError
from oddframe.features.lazy_array import CropArray
from oddframe.features.store.store import FeatureStore, imported_specs
from tests.datasets.generated import Generated, GeneratorOptions, made_up

FEW = GeneratorOptions(scale=0.05, videos=2)


@pytest.fixture
def xd(shared_data: Path, tmp_path: Path) -> Generated:
    return made_up("xd_violence", shared_data, tmp_path / "made", FEW)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def arrays(dataset: Dataset) -> list[np.ndarray]:
    return [np.asarray(load_precomputed_features(video).array) for video in dataset.videos]


@pytest.mark.parametrize("with_sound", [False, True])
def test_imported_features_equal_the_published_ones(
    with_sound: bool, xd: Generated, store: FeatureStore
) -> None:
    listed, sound = open_dataset(xd.data), xd.sound if with_sound else None
    done = import_features(listed, xd.features, store, sound)
    assert (done.new, done.kept, done.failed) == (8, 0, ())
    assert done.spec.dim == (1152 if with_sound else 1024)
    kept = attach_features(listed, store)
    in_place = attach_features(listed, store, xd.features, sound)
    for ours, theirs, video in zip(arrays(kept), arrays(in_place), listed.videos, strict=True):
        assert np.array_equal(ours, theirs)
        crop = np.load(xd.file(video.path.stem, 3))
        assert np.array_equal(ours[3, :, :1024], crop[: ours.shape[1]])
    specs = {load_precomputed_features(v).spec for v in (*kept.videos, *in_place.videos)}
    assert specs == {done.spec}
    assert done.spec.imported
    assert isinstance(load_precomputed_features(kept.videos[0]).array, CropArray)
    assert len({video_digest(video) for video in kept.videos}) == len(kept)


def test_a_stack_is_imported_like_single_crops(
    shared_data: Path, tmp_path: Path, store: FeatureStore
) -> None:
    found = []
    for stack in (False, True):
        wanted = GeneratorOptions(0.02, 1, dim=1024, stack=stack, half=True)
        ucf = made_up("ucf_crime", shared_data, tmp_path / f"stack {stack}", wanted)
        own = FeatureStore(tmp_path / f"store {stack}")
        import_features(open_dataset(ucf.data), ucf.features, own)
        found.append(arrays(attach_features(open_dataset(ucf.data), own)))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert found[0][0].dtype == np.float16


def test_an_import_can_be_resumed(xd: Generated, store: FeatureStore) -> None:
    listed = open_dataset(xd.data)
    import_features(listed.subset(range(3)), xd.features, store)
    done = import_features(listed, xd.features, store)
    assert (done.new, done.kept) == (5, 3)
    # A file that somebody cut off is no import.
    victim = next(path for path in store.root.rglob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:-8])
    done = import_features(listed, xd.features, store)
    assert (done.new, done.kept) == (1, 7)
    assert import_features(listed, xd.features, store, fresh=True).new == 8


def test_a_fault_does_not_stop_the_other_videos(xd: Generated, store: FeatureStore) -> None:
    listed = open_dataset(xd.data)
    nan, other, gone = (xd.file(listed.videos[i].path.stem, 1) for i in (0, 3, 5))
    array = np.load(nan)
    array[0, 0] = np.nan
    np.save(nan, array)
    np.save(other, np.zeros((3, 2048), np.float32))
    gone.unlink()
    done = import_features(listed, xd.features, store)
    assert (done.new, len(done.failed)) == (5, 3)
    said = "\n".join(done.failed)
    for name in (listed.videos[0].path.stem, other.name, gone.name):
        assert name in said
    assert "NaN or infinite" in said
    with pytest.raises(InputError, match="no such feature file"):
        load_precomputed_features(attach_features(listed, store).videos[0])


CHILD = """
import sys
from pathlib import Path
from oddframe.datasets.precomputed import import_features
from oddframe.datasets.registry import open_dataset
from oddframe.features.store.store import FeatureStore
def progress(done, total, _): print(done, flush=True)
data, features, store = sys.argv[1:]
import_features(open_dataset(data), Path(features), FeatureStore(Path(store)), progress=progress)
"""


def test_a_killed_import_leaves_no_partial_files(
    shared_data: Path, tmp_path: Path, store: FeatureStore
) -> None:
    wanted = GeneratorOptions(scale=1.0, videos=4)
    ucf = made_up("ucf_crime", shared_data, tmp_path / "made", wanted)
    words = [sys.executable, "-c", CHILD, ucf.data, str(ucf.features), str(store.root)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        while int(child.stdout.readline()) < 3:
            pass
        time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
    listed = open_dataset(ucf.data)
    done = import_features(listed, ucf.features, store)
    assert done.kept >= 3
    assert done.kept + done.new == len(listed)
    in_place = attach_features(listed, store, ucf.features)
    for a, b in zip(listed_arrays(listed, store), arrays(in_place), strict=True):
        assert np.array_equal(a, b)


def listed_arrays(listed: Dataset, store: FeatureStore) -> list[np.ndarray]:
    return arrays(attach_features(listed, store))


def test_the_message_if_nothing_was_imported(xd: Generated, store: FeatureStore) -> None:
    listed = open_dataset(xd.data)
    with pytest.raises(UsageError, match="oddframe import features DIR --dataset xd_violence"):
        attach_features(listed, store)
    with pytest.raises(UsageError, match=r"not what was imported of xd_violence .*: none"):
        attach_features(listed, store, "i3d")
    import_features(listed, xd.features, store)
    import_features(listed, xd.features, store, xd.sound)
    assert list(imported_specs(store, "xd_violence")) == ["i3d", "i3d+vggish"]
    with pytest.raises(UsageError, match=r"say which .*: --features i3d, i3d\+vggish"):
        attach_features(listed, store)
    dims = [
        load_precomputed_features(attach_features(listed, store, kind).videos[0]).spec.dim
        for kind in ("i3d", "i3d+vggish")
    ]
    assert dims == [1024, 1152]


def test_impossible_requests_are_refused(
    xd: Generated, store: FeatureStore, shared_data: Path, tmp_path: Path
) -> None:
    ped2 = open_dataset(f"ped2:{shared_data / 'ped2'}")
    assert attach_features(ped2, store) is ped2
    with pytest.raises(UsageError, match="ped2 has no published features"):
        attach_features(ped2, store, xd.features)
    with pytest.raises(UsageError, match="ped2 has no published features"):
        import_features(ped2, xd.features, store)
    with pytest.raises(UsageError, match="--sound needs --features DIR"):
        attach_features(open_dataset(xd.data), store, None, xd.sound)
    (tmp_path / "empty").mkdir()
    for act in (
        lambda: attach_features(open_dataset(xd.data), store, tmp_path / "empty"),
        lambda: import_features(open_dataset(xd.data), tmp_path / "empty", store),
    ):
        with pytest.raises(InputError, match="empty: no complete features of any video"):
            act()


def test_existing_videos_take_precedence(xd: Generated, store: FeatureStore) -> None:
    import_features(open_dataset(xd.data), xd.features, store)
    name = open_dataset(xd.data).videos[0].path.name
    (xd.lists / name).touch()
    listed = open_dataset(xd.data)
    assert attach_features(listed, store) is listed
    assert attach_features(listed, store, "i3d").videos[0].precomputed is not None
