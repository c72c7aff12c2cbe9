"""The index of a store: which features there are, found and drawn without looking at the disk.

One SQLite file, ``index.sqlite``, beside the folders. The folders are the truth, and the index is
made from them: ``FeatureStore.put`` adds a line, and whoever opens the index first looks whether a
folder was changed otherwise since it was last read, by its date. Only such folders are read again.
It may be removed at any time; one that is damaged, or of another version, is made anew by whoever
meets it, with a line in the log of this module.

The SQLite file of a store's index: one that is damaged, or of another version, is made anew.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from oddframe._utils.files import is_dir, is_file
from oddframe.errors import InputError, OddframeError
from oddframe.features.formats.feature_file import read_feature_header
from oddframe.features.spec import FeatureSpec

_SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS specs (hash TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, changed_ns INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL, spec TEXT NOT NULL, snippets INTEGER NOT NULL,
    bytes INTEGER NOT NULL, UNIQUE (content, spec));
CREATE INDEX IF NOT EXISTS by_spec ON entries (spec, content);
"""
# Of the errors that SQLite has for whatever else may go wrong, those of a file with other contents.
_NO_INDEX = re.compile(r"no such (table|column)|has no column|could not decode", re.IGNORECASE)
_BESIDE = ("-wal", "-shm")
# A file that is empty for longer than this (s) is not one that somebody is about to fill.
_EMPTY_S = 2.0
_LEAST_PAGE = 512

_Out = TypeVar("_Out")

# Without a handler, Python prints warnings to standard error, the bare message alone.
_log = logging.getLogger(__name__)


class Database:
    """The file at ``path``; each question opens it anew, so threads may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def query(
        self,
        question: Callable[[sqlite3.Connection], _Out],
        fill: Callable[[], object] = lambda: None,
    ) -> _Out:
        """The answer, or that of a new file where this one is no index, or not one any more.

        Args:
            question: Is asked once or twice; raises ``sqlite3.DatabaseError`` where what it finds
                cannot be.
            fill: Fills a new file.

        Raises:
            OddframeError: it cannot be opened, written or made anew.
        """
        try:
            return self._answer(question)
        except _BrokenError as error:
            _log.warning("%s: the index is broken (%s) and is made anew", self._path, error)
        try:
            for ending in ("", *_BESIDE):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        except OSError as error:
            raise OddframeError(f"{self._path}: cannot be removed ({error.strerror})") from None
        try:
            fill()
            return self._answer(question)
        except _BrokenError as error:
            raise OddframeError(f"{self._path}: the index cannot be used ({error})") from None

    def _answer(self, question: Callable[[sqlite3.Connection], _Out]) -> _Out:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._refuse_cut_off()
            with closing(sqlite3.connect(self._path, timeout=60)) as db, db:
                _prepare(db)
                return question(db)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _NO_INDEX.search(str(error)):
                raise OddframeError(f"{self._path}: the index cannot be used ({error})") from None
            raise _BrokenError(str(error)) from None
        except OSError as error:
            raise OddframeError(f"{self._path}: cannot be written ({error.strerror})") from None

    def _refuse_cut_off(self) -> None:
        """Refuse what SQLite would take for an empty file, or fill up with zeros."""
        if not self._path.is_file():
            return
        about = self._path.stat()
        if about.st_size == 0 and time.time() - about.st_mtime > _EMPTY_S:
            raise _BrokenError("it is empty")
        if about.st_size % _LEAST_PAGE:
            raise _BrokenError("it was cut off")


class _BrokenError(Exception):
    """The file is no index, or not one any more."""


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = NORMAL")  # What is lost with the power is read again.
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema == _SCHEMA:
        return
    if schema:
        raise sqlite3.DatabaseError(f"of version {schema}, not {_SCHEMA}")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(_TABLES + f"PRAGMA user_version = {_SCHEMA};")


STORE_INDEX = "index.sqlite"
_FILE = re.compile(r"([0-9a-f]{64})-([0-9a-f]{16})\.safetensors")
# Dates are this coarse (ns) on some systems: a folder that was changed so shortly before it was
# read may have been changed again under the same date.
_RACY_NS = 2_000_000_000
_ADD = "INSERT OR REPLACE INTO entries (content, spec, snippets, bytes) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True)
class IndexEntry:
    """Features in a store.

    Attributes:
        content: sha256 (hex) of the video.
        spec: Hash of the spec.
        snippets: How many.
        bytes: Size of the file.
    """

    content: str
    spec: str
    snippets: int
    bytes: int

    @property
    def file(self) -> Path:
        """The feature file, from the root of the store."""
        return Path(self.content[:2], f"{self.content}-{self.spec}.safetensors")


@dataclass(frozen=True)
class SpecSummary:
    """What a store holds of one spec."""

    hash: str
    spec: FeatureSpec
    videos: int
    snippets: int
    bytes: int


class Index:
    """The index of the store at ``root``; each call opens it anew, so threads may share it.

    Args:
        root: Of the store.
        beside: Folder for the index of a store that cannot be written; None: in the store.

    Raises:
        OddframeError: it cannot be opened or written.
    """

    def __init__(self, root: Path, beside: TemporaryDirectory[str] | None = None):
        self._root, self._beside = root, beside  # Held here, for it is removed with its last user.
        self._file = Database((root if beside is None else Path(beside.name)) / STORE_INDEX)

    def sync(self) -> int:
        """Read again what was changed past the index; how many folders that were.

        Raises:
            OddframeError: it cannot be written.
        """
        shards = {p.name: p for p in self._root.glob("[0-9a-f][0-9a-f]") if is_dir(p)}

        def read(db: sqlite3.Connection) -> int:
            known = dict(db.execute("SELECT name, changed_ns FROM shards"))
            # Files that appear while a folder is read change its date to a later one than this.
            dates = {name: path.stat().st_mtime_ns for name, path in shards.items()}
            changed = [name for name, date in dates.items() if known.get(name) != date]
            for name in changed:
                self._read_shard(db, shards[name])
                settled = time.time_ns() - dates[name] > _RACY_NS
                date = dates[name] if settled else None
                db.execute("INSERT OR REPLACE INTO shards VALUES (?, ?)", (name, date))
            for name in known.keys() - shards.keys():
                db.execute("DELETE FROM entries WHERE content LIKE ?", (f"{name}%",))
                db.execute("DELETE FROM shards WHERE name = ?", (name,))
            return len(changed)

        return self._file.query(read)

    def verify(self) -> None:
        """Read all of the index, and make it anew if it is damaged anywhere.

        Raises:
            OddframeError: it cannot be written.
        """

        def check(db: sqlite3.Connection) -> None:
            (told,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if told != "ok":
                raise sqlite3.DatabaseError(told)

        self._file.query(check, self.sync)

    def add(self, entries: Iterable[IndexEntry], spec: FeatureSpec) -> None:
        """Note what was just put into the store, all of one spec.

        Raises:
            OddframeError: it cannot be written.
        """
        every = list(entries)
        self._file.query(
            lambda db: _insert(db, every, spec)
        )  # Made anew, it is filled by who reads it.

    def find(self, content: str) -> list[IndexEntry]:
        """All features of a video."""
        return self._file.query(
            lambda db: _select(db, "WHERE content = ? ORDER BY spec", (content,)), self.sync
        )

    def all(self, spec: str) -> Iterator[IndexEntry]:
        """All features of a spec, by content; never in memory at once."""
        after = ""
        while True:
            where = "WHERE spec = ? AND content > ? ORDER BY content LIMIT 1000"
            found = self._file.query(partial(_select, where=where, values=(spec, after)), self.sync)
            if not found:
                return
            yield from found
            after = found[-1].content

    def specs(self) -> list[SpecSummary]:
        """What is there of each spec, most videos first."""

        def read(db: sqlite3.Connection) -> list[SpecSummary]:
            rows = db.execute(
                "SELECT hash, json, COUNT(*), SUM(snippets), SUM(bytes) FROM entries "
                "JOIN specs ON hash = spec GROUP BY hash ORDER BY COUNT(*) DESC, hash"
            )
            try:
                return [
                    SpecSummary(name, FeatureSpec.from_dict(json.loads(text)), *counts)
                    for name, text, *counts in rows
                ]
            except (InputError, ValueError, TypeError) as error:
                raise sqlite3.DatabaseError(f"a spec in it cannot be read: {error}") from None

        return self._file.query(read, self.sync)

    def draw(self, spec: str, count: int, rng: random.Random) -> list[IndexEntry]:
        """``count`` features of a spec, each drawn evenly from all of them, with replacement.

        It takes as long as ``count`` look-ups, however many there are, as long as the store holds
        few specs.

        Raises:
            InputError: there are none.
        """

        def pick(db: sqlite3.Connection) -> list[IndexEntry]:
            drawn: list[IndexEntry] = []
            if (
                db.execute("SELECT 1 FROM entries WHERE spec = ? LIMIT 1", (spec,)).fetchone()
                is None
            ):
                raise InputError(f"{self._root}: no features of spec {spec}")
            # Together, the two would make SQLite go through all entries.
            first, last = (
                db.execute(f"SELECT {end}(id) FROM entries").fetchone()[0] for end in ("MIN", "MAX")
            )
            while len(drawn) < count:
                where = "WHERE id = ? AND spec = ?"
                drawn += _select(db, where, (rng.randint(first, last), spec))
            return drawn

        return self._file.query(pick, self.sync)

    def _read_shard(self, db: sqlite3.Connection, shard: Path) -> None:
        matches = (_FILE.fullmatch(path.name) for path in shard.iterdir())
        # One that lies in another folder than its own would not be found there.
        there = {m[0]: m for m in matches if m is not None and m[0].startswith(shard.name)}
        rows = _select(db, "WHERE content >= ? AND content < ?", (shard.name, shard.name + "g"))
        known = {entry.file.name: entry for entry in rows}
        for name in known.keys() - there.keys():
            where = (known[name].content, known[name].spec)
            db.execute("DELETE FROM entries WHERE content = ? AND spec = ?", where)
        for name in sorted(there.keys() - known.keys()):
            try:
                about = read_feature_header(shard / name)
                size = (shard / name).stat().st_size
            except (InputError, OSError):
                continue  # Damaged, or gone again: there are no features.
            content, spec = there[name].groups()
            if _spec_row(about.spec)[0] == spec:
                _insert(db, [IndexEntry(content, spec, about.shape[1], size)], about.spec)


def open_index(root: Path) -> Index:
    """The index of the store at ``root``, true as of now.

    Of a store that may be read and not written, it is made elsewhere for the time being.

    Raises:
        InputError: there is no such store, or nothing in it.
        OddframeError: the index cannot be written.
    """
    if not is_dir(root):
        raise InputError(f"{root}: no such store of features")
    beside = None
    if not os.access(root, os.W_OK):
        beside = TemporaryDirectory(prefix="oddframe-")
        for path in root.glob(f"{STORE_INDEX}*"):  # Only what changed since is read again.
            with suppress(OSError):
                shutil.copyfile(path, Path(beside.name) / path.name)
    elif not is_store(root):
        raise InputError(f"{root}: no features in this store, or it is none")
    index = Index(root, beside)
    index.sync()
    return index


def is_store(root: Path) -> bool:
    """Whether a folder is a store of features."""
    return is_dir(root) and (
        is_file(root / STORE_INDEX) or any(root.glob("[0-9a-f][0-9a-f]/*-*.safetensors"))
    )


@lru_cache(maxsize=64)  # A million entries have a few specs.
def _spec_row(spec: FeatureSpec) -> tuple[str, str]:
    return spec.hash(), json.dumps(spec.to_dict(), sort_keys=True)


def _insert(db: sqlite3.Connection, entries: Iterable[IndexEntry], spec: FeatureSpec) -> None:
    db.execute("INSERT OR IGNORE INTO specs VALUES (?, ?)", _spec_row(spec))
    db.executemany(_ADD, ((e.content, e.spec, e.snippets, e.bytes) for e in entries))


def _select(db: sqlite3.Connection, where: str, values: Iterable[object]) -> list[IndexEntry]:
    rows = db.execute(f"SELECT content, spec, snippets, bytes FROM entries {where}", tuple(values))
    return [IndexEntry(*row) for row in rows]
