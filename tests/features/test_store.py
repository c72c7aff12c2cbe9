"""The feature store: what goes in comes out, and damage is found and made good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from oddframe._utils.files import write_text
from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.feature_file import (
    checksum,
    read_feature_header,
    read_features,
    tensors_of,
    timebase_to_dict,
    write_features,
)
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.imports import StoredFeatures
from oddframe.features.store.store import FeatureStore, content_hash
from oddframe.timeline import Timebase

SPEC = FeatureSpec(backbone="i3d", weights_sha256="ab", dim=8, crops=("center", "top_left"))


def some_features(spec: FeatureSpec = SPEC, *, variable: bool = False, **timebase) -> Features:
    rng = np.random.default_rng(1)
    pts = np.cumsum(rng.uniform(0.01, 0.1, 70)) if variable else None
    timebase = spec.timebase(**{"fps": 25.0, "n_frames": 70, "pts": pts} | timebase)
    shape = (len(spec.crops), timebase.n_snippets, spec.dim)
    return Features(rng.normal(size=shape).astype(np.float32), spec, timebase)


LEAPING = {"pts": np.arange(70) / 25 + np.repeat([0.0, 31_250.0], 35), "gaps": (35,)}


@pytest.mark.parametrize("timebase", [{}, {"variable": True}, {"start_s": 2.5}, LEAPING], ids=repr)
def test_what_was_kept_comes_back(tmp_path: Path, timebase) -> None:
    store, features = FeatureStore(tmp_path), some_features(**timebase)
    assert store.get("0f" * 32, SPEC) is None
    path = store.put("0f" * 32, features)
    assert path == store.path("0f" * 32, SPEC)
    assert path.parent.name == "0f"
    back = store.get("0f" * 32, SPEC)
    assert back is not None
    assert back.spec == SPEC
    assert back.timebase == features.timebase
    np.testing.assert_array_equal(back.array, features.array)
    np.testing.assert_array_equal(back.timebase.frame_times, features.timebase.frame_times)
    assert StoredFeatures(path).open_checked().timebase == features.timebase


def test_a_plain_video_has_the_header_that_it_always_had(tmp_path: Path) -> None:
    path = tmp_path / "f.safetensors"
    write_features(path, some_features())
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["oddframe"])
    assert header["timebase"] == {
        "fps": 25.0,
        "n_frames": 70,
        "snippet_frames": 16,
        "stride": 16,
        "rate": None,
    }


@pytest.mark.parametrize("claim", [{}, {"stride": 2 * 10**8}, {"rate": 25.0, "fps": 1e9}])
def test_a_file_that_claims_more_than_it_can_hold_is_refused_without_memory(
    tmp_path: Path, claim: dict[str, float]
) -> None:
    path, features = tmp_path / "f.safetensors", some_features()
    header = {
        "kind": "oddframe features",
        "schema": 1,
        "spec": SPEC.to_dict(),
        "timebase": timebase_to_dict(features.timebase) | {"n_frames": 10**9} | claim,
        "checksum": checksum(tensors_of(features)),
    }
    save_file(tensors_of(features), path, {"oddframe": json.dumps(header)})
    for read in (read_features, read_feature_header):
        tracemalloc.start()
        with pytest.raises(InputError, match=r"1000000000 frames|expected|less than") as refused:
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "\n" not in str(refused.value)
        assert peak < 1e6


def test_half_precision_stays_half(tmp_path: Path) -> None:
    features = some_features()
    half = Features(features.array.astype(np.float16), SPEC, features.timebase)
    write_features(tmp_path / "f.safetensors", half)
    assert read_features(tmp_path / "f.safetensors").array.dtype == np.float16


def test_other_specs_and_contents_are_other_files(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    other = FeatureSpec(backbone="i3d", weights_sha256="cd", dim=8, crops=SPEC.crops)
    store.put("0f" * 32, some_features())
    assert store.get("0f" * 32, other) is None
    assert store.get("1f" * 32, SPEC) is None


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    match how:
        case "truncated":
            path.write_bytes(data[:-5])
        case "cut in the header":
            path.write_bytes(data[:20])
        case "empty":
            path.write_bytes(b"")
        case "flipped bit":
            data[-3] ^= 4
            path.write_bytes(data)
        case "foreign":
            save_file({"features": np.zeros((2, 5, 8), np.float32)}, path)
        case "text":
            path.write_text("no features here" * 9)


@pytest.mark.parametrize(
    "how", ["truncated", "cut in the header", "empty", "flipped bit", "foreign", "text"]
)
def test_damage_is_found_and_replaced(tmp_path: Path, how: str) -> None:
    store = FeatureStore(tmp_path)
    path = store.put("0f" * 32, some_features())
    damaged(path, how)
    with pytest.raises(InputError) as error:
        read_features(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert store.get("0f" * 32, SPEC) is None
    store.put("0f" * 32, some_features())
    assert store.get("0f" * 32, SPEC) is not None


@pytest.mark.parametrize("variable", [False, True])
def test_what_stays_on_disk_is_checked_there(tmp_path: Path, variable: bool) -> None:
    features = some_features(variable=variable)
    path = FeatureStore(tmp_path).put("0f" * 32, features)
    np.testing.assert_array_equal(StoredFeatures(path).open_checked().array, features.array)
    damaged(path, "flipped bit")
    assert StoredFeatures(path).open().spec == SPEC
    with pytest.raises(InputError, match="extract it again"):
        StoredFeatures(path).open_checked()


@pytest.mark.parametrize("how", ["shape", "nan", "newer"])
def test_a_file_that_contradicts_itself_is_refused(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, path = some_features(), tmp_path / "f.safetensors"
    if how == "shape":  # As if a program had written them with another timebase.
        object.__setattr__(features, "timebase", Timebase(25.0, 700))
        write_features(path, features)
    elif how == "nan":
        monkeypatch.setattr(np, "isfinite", lambda x: np.ones_like(x, dtype=bool))
        features.array[0, 0, 0] = np.nan
        write_features(path, features)
        monkeypatch.undo()
    else:
        monkeypatch.setattr("oddframe.features.formats.feature_file.FILE_SCHEMA", 2)
        write_features(path, features)
        monkeypatch.undo()
    with pytest.raises(
        InputError,
        match={"shape": "44 snippets, and holds 5", "nan": "finite", "newer": "upgrade"}[how],
    ):
        read_features(path)


def test_nan_is_never_written(tmp_path: Path) -> None:
    features = some_features()
    features.array[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="not finite"):
        write_features(tmp_path / "f.safetensors", features)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such feature file"):
        read_features(tmp_path / "none.safetensors")


def test_the_content_is_found_again_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"frames" * 1000)
    (tmp_path / "b.mp4").write_bytes(b"frames" * 1000)
    (tmp_path / "c.mp4").write_bytes(b"frames" * 999)
    a, b, c = (content_hash(tmp_path / name) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert a == b != c
    with pytest.raises(InputError, match=r"none\.mp4"):
        content_hash(tmp_path / "none.mp4")


def test_a_folder_of_frames_is_hashed_by_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(b"one")
    (folder / "2.jpg").write_bytes(b"two")
    before = content_hash(folder)
    (folder / "2.jpg").rename(folder / "3.jpg")
    renamed = content_hash(folder)
    (folder / "3.jpg").write_bytes(b"TWO")
    assert len({before, renamed, content_hash(folder)}) == 3


def test_a_file_is_read_for_hashing_once(tmp_path: Path) -> None:
    video, beats = tmp_path / "v.mp4", []
    video.write_bytes(b"frames")
    os.utime(video, (1e9, 1e9))
    before = content_hash(video, lambda: beats.append(1))
    assert content_hash(video, lambda: beats.append(1)) == before
    assert len(beats) == 1
    os.utime(video, (1e9, 1e9 + 1))
    assert content_hash(video, lambda: beats.append(1)) == before
    assert len(beats) == 2, "another date: it may have changed"


def test_a_file_that_changes_within_a_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"one")
    date = video.stat().st_mtime
    before = content_hash(video)
    video.write_bytes(b"two")
    os.utime(video, (date, date))
    assert content_hash(video) != before


KILLED = """
import os, signal, sys
from pathlib import Path
import tests.features.test_store as t
from oddframe.features.store.store import FeatureStore
def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)
Path.replace = killed
FeatureStore(Path(sys.argv[1])).put("0f" * 32, t.some_features())
"""

WRITING = """
import sys
from pathlib import Path
from oddframe._utils.files import atomic_write
with atomic_write(Path(sys.argv[1])) as part, part.open("w") as file:
    file.write("half")
    file.flush()
    print("half", flush=True)
    sys.stdin.readline()
    file.write(" whole")
"""


def test_a_kill_between_writing_and_moving_leaves_the_old_file(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    path = store.put("0f" * 32, some_features())
    before = path.read_bytes()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    assert store.get("0f" * 32, SPEC) is not None
    (left,) = path.parent.glob(".*.part")
    other = store.put("0f" + "1f" * 31, some_features())
    assert set(path.parent.iterdir()) == {path, other}, "any write into the folder removes it"
    left.touch()
    (tmp_path / ".notes.part").touch()
    store.sweep()
    assert set(path.parent.iterdir()) == {path, other}
    assert (tmp_path / ".notes.part").exists(), "not ours"


def test_what_a_living_process_writes_is_not_swept_however_long_it_takes(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WRITING, str(tmp_path / "a")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        (part,) = tmp_path.glob(".*.part")
        os.utime(part, (0, 0))
        FeatureStore(tmp_path).sweep()
        write_text(tmp_path / "b", "other")
        write_text(tmp_path / "a", "the same file")
        writer.communicate(b"go on\n")
    assert writer.returncode == 0
    assert (tmp_path / "a").read_text() == "half whole"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_features_that_are_replaced_while_they_are_read_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    path = store.put("0f" * 32, some_features())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\x7f")

    def read(path: Path) -> Features:
        try:
            return read_features(path)
        finally:
            FeatureStore(tmp_path).put("0f" * 32, some_features())  # By another process.

    monkeypatch.setattr("oddframe.features.store.store.read_features", read)
    assert store.get("0f" * 32, SPEC) is None
    assert path.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OddframeError, match="cannot be written"):
        write_features(tmp_path / "file" / "f.safetensors", some_features())
