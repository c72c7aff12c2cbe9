"""The feature store: features come back unchanged, and damage is found and replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from oddframe._utils.files import write_text
from oddframe.errors import InputError
from oddframe.features.formats.feature_file import (
    open_features,
    read_features,
)
from oddframe.features.spec import Features, FeatureSpec
from oddframe.features.store.store import FeatureStore, content_hash

SPEC = FeatureSpec(backbone="i3d", weights_sha256="ab", dim=8, crops=("center", "top_left"))


def some_features(spec: FeatureSpec = SPEC, *, variable: bool = False, **timebase) -> Features:
    rng = np.random.default_rng(1)
    pts = np.cumsum(rng.uniform(0.01, 0.1, 70)) if variable else None
    timebase = spec.timebase(**{"fps": 25.0, "n_frames": 70, "pts": pts} | timebase)
    shape = (len(spec.crops), timebase.n_snippets, spec.dim)
    return Features(rng.normal(size=shape).astype(np.float32), spec, timebase)


GAP = {"pts": np.arange(70) / 25 + np.repeat([0.0, 31_250.0], 35), "gaps": (35,)}


@pytest.mark.parametrize("timebase", [{}, {"variable": True}, {"start_s": 2.5}, GAP], ids=repr)
def test_stored_features_come_back_unchanged(tmp_path: Path, timebase) -> None:
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
    assert open_features(path, verify=True).timebase == features.timebase


def test_each_spec_and_content_has_its_file(tmp_path: Path) -> None:
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
def test_features_that_stay_on_disk_are_checked_there(tmp_path: Path, variable: bool) -> None:
    features = some_features(variable=variable)
    path = FeatureStore(tmp_path).put("0f" * 32, features)
    np.testing.assert_array_equal(open_features(path, verify=True).array, features.array)
    damaged(path, "flipped bit")
    assert open_features(path).spec == SPEC
    with pytest.raises(InputError, match="extract it again"):
        open_features(path, verify=True)


def test_the_content_hash_does_not_depend_on_the_name(tmp_path: Path) -> None:
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
    assert len(beats) == 2, "another modification time: it may have changed"


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


def test_a_kill_during_writing_leaves_the_old_file(tmp_path: Path) -> None:
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
    assert set(path.parent.iterdir()) == {path, other}, "every write into the folder removes it"
    left.touch()
    (tmp_path / ".notes.part").touch()
    store.sweep()
    assert set(path.parent.iterdir()) == {path, other}
    assert (tmp_path / ".notes.part").exists(), "not ours"


def test_temporary_files_of_running_processes_are_not_swept(tmp_path: Path) -> None:
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


def test_features_that_another_process_replaces_meanwhile_stay(
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
