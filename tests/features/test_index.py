"""The index says what the folders hold, whoever changed them."""

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
    """The folders were changed a while ago."""
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


def test_what_is_put_is_found(store: FeatureStore) -> None:
    for index in (Index(store.root), open_index(store.root)):
        assert contents(index) == [ONE, TWO]
        found = {entry.spec: entry for entry in index.find(ONE)}
        assert found.keys() == {SPEC.hash(), OTHER.hash()}
        entry = found[OTHER.hash()]
        assert store.root / entry.file == store.path(ONE, OTHER)
        assert entry.snippets == some_features(OTHER).timebase.n_snippets
        assert entry.bytes == store.path(ONE, OTHER).stat().st_size
        about = {each.hash: each for each in index.specs()}
        assert about[SPEC.hash()].spec == SPEC
        assert (about[SPEC.hash()].videos, about[OTHER.hash()].videos) == (2, 1)


def test_it_is_made_anew_where_it_is_missing_or_no_index(store: FeatureStore) -> None:
    (store.root / STORE_INDEX).unlink()
    assert contents(open_index(store.root)) == [ONE, TWO]
    for name in (STORE_INDEX, f"{STORE_INDEX}-wal", f"{STORE_INDEX}-shm"):
        (store.root / name).write_bytes(b"no database at all" * 1000)
    store.put(THREE, some_features())  # Not stopped by that.
    assert contents(open_index(store.root)) == [ONE, TWO, THREE]


def broken(path: Path, how: str) -> None:
    """Break an index, which stays alone."""
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        if how == "another version":
            db.execute("PRAGMA user_version = 99")
        if how == "no such tables":
            db.execute("DROP TABLE entries")
    db.close()
    whole = path.read_bytes()
    match how:
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
    "how",
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
def test_a_broken_one_costs_a_line_and_nothing_else(
    store: FeatureStore, caplog: pytest.LogCaptureFixture, how: str, first: str
) -> None:
    age(store.root)
    index = open_index(store.root)
    broken(store.root / STORE_INDEX, how)
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


def test_damage_that_no_question_meets_is_found(
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


def test_the_line_is_said_where_a_command_meets_it(store: FeatureStore) -> None:
    broken(store.root / STORE_INDEX, "garbage")
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "oddframe", "features", "ls", str(store.root)]
    first, second = (
        subprocess.run(command, env=env, capture_output=True, text=True) for _ in range(2)
    )
    assert (first.returncode, second.returncode, second.stderr) == (0, 0, "")
    assert first.stderr.count("\n") == 1
    assert "index.sqlite: the index is damaged (file is not a database)" in first.stderr
    assert first.stdout == second.stdout


def test_changes_past_the_index_are_seen(store: FeatureStore) -> None:
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


def test_a_folder_that_was_just_changed_is_looked_at_again(store: FeatureStore) -> None:
    index = open_index(store.root)
    assert index.sync() == 2


def test_damaged_files_and_strange_names_are_no_features(store: FeatureStore) -> None:
    store.path(TWO, SPEC).write_bytes(b"no features")
    (store.root / "a0" / "notes.txt").write_text("mine")
    (store.root / STORE_INDEX).unlink()
    assert contents(open_index(store.root)) == [ONE]


def test_all_are_drawn_equally_often(store: FeatureStore) -> None:
    store.put(THREE, some_features())
    store.put(ONE, some_features())  # Again: it leaves a gap in the numbers.
    drawn = Index(store.root).draw(SPEC.hash(), 600, random.Random(0))
    counts = Counter(entry.content for entry in drawn)
    assert counts.keys() == {ONE, TWO, THREE}
    assert min(counts.values()) > 150
    with pytest.raises(InputError, match="no features of spec"):
        Index(store.root).draw("ab", 1, random.Random(0))


def test_no_store_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such store"):
        open_index(tmp_path / "missing")


def test_a_store_that_cannot_be_written_is_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.root / STORE_INDEX).unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)  # Root may write everywhere.
    assert contents(open_index(store.root)) == [ONE, TWO]
    assert not (store.root / STORE_INDEX).exists()


def test_a_folder_of_other_things_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "cam3.mp4").write_text("mine")
    with pytest.raises(InputError, match="no features in this store"):
        open_index(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cam3.mp4"]
