"""The index lists what the folders hold, whatever changed them."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from oddframe.errors import InputError
from oddframe.features.store.index import STORE_INDEX, Index, open_index
from oddframe.features.store.store import FeatureStore
from tests.conftest import ROOT
from tests.features.test_store import SPEC, some_features

OTHER = replace(SPEC, stride=8)
ONE, TWO, THREE = "0f" * 32, "a0" * 32, "a1" * 32


def age(root: Path) -> None:
    """Give all folders an old modification time."""
    for shard in root.glob("??"):
        os.utime(shard, (1e9, 1e9 + len(list(shard.iterdir()))))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    store.put(ONE, some_features())
    store.put(ONE, some_features(OTHER))
    store.put(TWO, some_features(variable=True))
    return store


def contents(index: Index, spec=SPEC) -> list[str]:
    return [entry.content for entry in index.all(spec.hash())]


def test_new_features_are_found(store: FeatureStore) -> None:
    for index in (Index(store.root), open_index(store.root)):
        assert contents(index) == [ONE, TWO]
        found = {entry.spec: entry for entry in index.find(ONE)}
        assert found.keys() == {SPEC.hash(), OTHER.hash()}
        entry = found[OTHER.hash()]
        assert store.root / entry.file == store.path(ONE, OTHER)
        assert entry.snippets == some_features(OTHER).timebase.n_snippets
        assert entry.bytes == store.path(ONE, OTHER).stat().st_size
        summaries = {each.hash: each for each in index.specs()}
        assert summaries[SPEC.hash()].spec == SPEC
        assert (summaries[SPEC.hash()].videos, summaries[OTHER.hash()].videos) == (2, 1)


def test_a_missing_or_foreign_index_is_rebuilt(store: FeatureStore) -> None:
    (store.root / STORE_INDEX).unlink()
    assert contents(open_index(store.root)) == [ONE, TWO]
    for name in (STORE_INDEX, f"{STORE_INDEX}-wal", f"{STORE_INDEX}-shm"):
        (store.root / name).write_bytes(b"no database at all" * 1000)
    store.put(THREE, some_features())  # Writing works all the same.
    assert contents(open_index(store.root)) == [ONE, TWO, THREE]


def damage(path: Path, problem: str) -> None:
    """Damage an index that has no journal files."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        if problem == "another version":
            db.execute("PRAGMA user_version = 99")
        if problem == "no such tables":
            db.execute("DROP TABLE entries")
    db.close()
    whole = path.read_bytes()
    match problem:
        case "empty":
            path.write_bytes(b"")
            os.utime(path, (1e9, 1e9))
        case "garbage":
            path.write_bytes(random.Random(0).randbytes(len(whole)))
        case "one byte":
            path.write_bytes(whole[:1])
        case "half":
            path.write_bytes(whole[: len(whole) // 2])
        case "one byte short":
            path.write_bytes(whole[:-1])
        case "a page of noise":
            page = random.Random(0).randbytes(4096)
            path.write_bytes(whole[:4096] + page + whole[8192:])


@pytest.mark.parametrize(
    "problem",
    [
        "empty",
        "garbage",
        "one byte",
        "half",
        "one byte short",
        "a page of noise",
        "another version",
        "no such tables",
    ],
)
@pytest.mark.parametrize("first", ["reader", "writer", "a reader that had it open"])
def test_a_damaged_index_is_rebuilt_with_one_warning(
    store: FeatureStore, caplog: pytest.LogCaptureFixture, problem: str, first: str
) -> None:
    age(store.root)
    index = open_index(store.root)
    damage(store.root / STORE_INDEX, problem)
    expected = [ONE, TWO]
    if first == "writer":
        store.put(THREE, some_features())
        expected.append(THREE)
    if first != "a reader that had it open":
        index = open_index(store.root)
    assert contents(index) == expected
    assert {each.videos for each in index.specs()} == {1, len(expected)}
    assert contents(open_index(store.root)) == expected
    (line,) = caplog.messages
    assert line.startswith(f"{store.root / STORE_INDEX}: the index is damaged (")
    assert line.endswith(") and is rebuilt")


def test_verify_finds_damage_that_no_query_meets(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    index = open_index(store.root)
    index.verify()
    assert not caplog.messages
    with sqlite3.connect(store.root / STORE_INDEX) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("DELETE FROM sqlite_schema WHERE name = 'by_spec'")
    db.close()
    index.verify()
    assert len(caplog.messages) == 1
    assert contents(index) == [ONE, TWO]


def test_a_command_prints_the_warning_once(store: FeatureStore) -> None:
    damage(store.root / STORE_INDEX, "garbage")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "oddframe", "features", "ls", str(store.root)]
    first, second = (
        subprocess.run(command, env=env, capture_output=True, text=True) for _ in range(2)
    )
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
    assert first.stderr.count("\n") == 1
    assert "index.sqlite: the index is damaged (file is not a database)" in first.stderr
    assert first.stdout == second.stdout


def test_changes_of_the_folders_are_noticed(store: FeatureStore) -> None:
    age(store.root)
    index = open_index(store.root)
    assert index.sync() == 0
    store.path(ONE, SPEC).unlink()
    source = store.path(TWO, SPEC)
    source.with_name(source.name.replace(TWO, THREE)).hardlink_to(source)
    age(store.root)
    assert index.sync() == 2
    assert contents(index) == [TWO]
    moved = store.root / "a1" / source.name.replace(TWO, THREE)
    moved.parent.mkdir()
    source.with_name(moved.name).rename(moved)
    store.path(ONE, OTHER).parent.rename(store.root / "gone")
    age(store.root)
    index.sync()
    assert contents(index) == [TWO, THREE]
    assert contents(index, OTHER) == []


def test_a_folder_that_was_just_changed_is_read_again(store: FeatureStore) -> None:
    index = open_index(store.root)
    assert index.sync() == 2


def test_damaged_files_and_other_names_are_ignored(store: FeatureStore) -> None:
    store.path(TWO, SPEC).write_bytes(b"no features")
    (store.root / "a0" / "notes.txt").write_text("mine")
    (store.root / STORE_INDEX).unlink()
    assert contents(open_index(store.root)) == [ONE]


def test_draws_are_uniform(store: FeatureStore) -> None:
    store.put(THREE, some_features())
    store.put(ONE, some_features())  # Replacing a row leaves a gap in the ids.
    drawn = Index(store.root).draw(SPEC.hash(), 600, random.Random(0))
    counts = Counter(entry.content for entry in drawn)
    assert counts.keys() == {ONE, TWO, THREE}
    assert min(counts.values()) > 150
    with pytest.raises(InputError, match="no features of spec"):
        Index(store.root).draw("ab", 1, random.Random(0))


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such store"):
        open_index(tmp_path / "missing")


def test_a_store_that_cannot_be_written_is_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / STORE_INDEX).unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)  # Tests may run as root.
    assert contents(open_index(store.root)) == [ONE, TWO]
    assert not (store.root / STORE_INDEX).exists()


def test_other_folders_are_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cam3.mp4").write_text("mine")
    with pytest.raises(InputError, match="no features in this store"):
        open_index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cam3.mp4"]
