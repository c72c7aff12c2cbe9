"""The index of a feature store: a SQLite file that lists the features without reading the folders.

``index.sqlite`` only caches what the folders hold: ``Index.sync`` reads those again that changed
since. An index that is damaged or of another version is rebuilt, and a warning logged.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from oddframe._utils.files import is_dir, is_file
from oddframe.errors import InputError, OddframeError, UsageError
from oddframe.features.formats.feature_file import read_feature_header
from oddframe.features.spec import FeatureSpec

STORE_INDEX = "index.sqlite"

_SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS specs (hash TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY, changed_ns INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, content TEXT NOT NULL, spec TEXT NOT NULL, snippets INTEGER NOT NULL,
    bytes INTEGER NOT NULL, UNIQUE (content, spec));
CREATE INDEX IF NOT EXISTS by_spec ON entries (spec, content);
"""
_FILE = re.compile(r"([0-9a-f]{64})-([0-9a-f]{16})\.safetensors")
# Modification times are this coarse (ns) on some file systems: a folder that was changed so shortly
# before it was read may change again without another modification time.
_RACY_NS = 2_000_000_000
# Messages of ``sqlite3.OperationalError`` that mean that the file is not an index.
_NO_INDEX = re.compile(r"no such (table|column)|has no column|could not decode", re.IGNORECASE)
# An empty file that is older than this (s) is damaged; a younger one may just have been created.
_EMPTY_S = 2.0
_MIN_PAGE_BYTES = 512

_ResultT = TypeVar("_ResultT")

# Without a handler, Python prints warnings to standard error, the bare message alone.
_log = logging.getLogger(__name__)


def open_index(root: Path) -> Index:
    """Open the index of the store at ``root`` and bring it up to date.

    If the store cannot be written, a copy in a temporary folder is used. InputError if there is no
    such store, or it is empty.
    """
    if not is_dir(root):
        raise InputError(f"{root}: no such store of features")
    temporary = None
    if not os.access(root, os.W_OK):
        temporary = TemporaryDirectory(prefix="oddframe-")
        for path in root.glob(f"{STORE_INDEX}*"):  # Then only changed folders are read again.
            with suppress(OSError):
                shutil.copyfile(path, Path(temporary.name) / path.name)
    elif not is_store(root):
        raise InputError(f"{root}: no features in this store, or not a store")
    index = Index(root, temporary)
    index.sync()
    return index


def is_store(root: Path) -> bool:
    """Whether a folder is a store of features."""
    return is_dir(root) and (
        is_file(root / STORE_INDEX) or any(root.glob("[0-9a-f][0-9a-f]/*-*.safetensors"))
    )


@dataclass(frozen=True)
class IndexEntry:
    """One feature file of a store: sha256 of the video, hash of the spec, and sizes."""

    content: str
    spec: str
    snippets: int
    bytes: int

    @property
    def file(self) -> Path:
        """Path relative to the root of the store."""
        return Path(self.content[:2], f"{self.content}-{self.spec}.safetensors")


@dataclass(frozen=True)
class SpecSummary:
    """All features of one spec in a store: numbers and sizes of all videos."""

    hash: str
    spec: FeatureSpec
    videos: int
    snippets: int
    bytes: int


def choose_spec(root: Path, specs: Sequence[SpecSummary], start: str | None) -> SpecSummary:
    """Choose a spec of a store by the start of its hash, or the only one; UsageError if unclear."""
    if not specs:
        raise InputError(f"{root}: no features in this store")
    matching = [each for each in specs if each.hash.startswith(start or "")]
    if len(matching) == 1:
        return matching[0]
    known = ", ".join(f"{each.hash} ({each.spec.backbone})" for each in specs)
    problem = "several kinds of features" if start is None else f"--spec {start} is not one of them"
    raise UsageError(f"{root}: {problem}; choose one with --spec: {known}")


class Index:
    """The index of the store at ``root``; threads may share it.

    ``temporary`` is the folder of the index if the store cannot be written.
    """

    def __init__(self, root: Path, temporary: TemporaryDirectory[str] | None = None):
        self._root = root
        self._temporary = temporary  # Python removes the folder when this reference is gone.
        self._path = (root if temporary is None else Path(temporary.name)) / STORE_INDEX

    def sync(self) -> int:
        """Read the folders that changed since they were last read; returns their number."""
        shards = {p.name: p for p in self._root.glob("[0-9a-f][0-9a-f]") if is_dir(p)}

        def read(db: sqlite3.Connection) -> int:
            known = dict(db.execute("SELECT name, changed_ns FROM shards"))
            # Taken before the folders are read, so that a later change is noticed next time.
            times = {name: path.stat().st_mtime_ns for name, path in shards.items()}
            changed = [name for name, changed_ns in times.items() if known.get(name) != changed_ns]
            for name in changed:
                self._read_shard(db, shards[name])
                settled = time.time_ns() - times[name] > _RACY_NS
                row = name, times[name] if settled else None
                db.execute("INSERT OR REPLACE INTO shards VALUES (?, ?)", row)
            for name in known.keys() - shards.keys():
                db.execute("DELETE FROM entries WHERE content LIKE ?", (f"{name}%",))
                db.execute("DELETE FROM shards WHERE name = ?", (name,))
            return len(changed)

        return self._query(read, fill=False)

    def verify(self) -> None:
        """Check the whole index, and rebuild it if it is damaged anywhere."""

        def check(db: sqlite3.Connection) -> None:
            (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if answer != "ok":
                raise sqlite3.DatabaseError(answer)

        self._query(check)

    def add(self, entries: Iterable[IndexEntry], spec: FeatureSpec) -> None:
        """Add rows for new feature files, all of the same spec."""
        rows = list(entries)
        # The next reader fills an index that is rebuilt here.
        self._query(lambda db: _insert(db, rows, spec), fill=False)

    def find(self, content: str) -> list[IndexEntry]:
        """Find all features of a video, by the sha256 of its content."""
        return self._query(lambda db: _select(db, "WHERE content = ? ORDER BY spec", (content,)))

    def all(self, spec: str) -> Iterator[IndexEntry]:
        """Iterate over all features of the spec with this hash, ordered by content."""
        after, where = "", "WHERE spec = ? AND content > ? ORDER BY content LIMIT 1000"
        while page := self._query(partial(_select, where=where, values=(spec, after))):
            yield from page
            after = page[-1].content

    def specs(self) -> list[SpecSummary]:
        """Summarise the features of each spec, the spec with most videos first."""

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

        return self._query(read)

    def draw(self, spec: str, count: int, rng: random.Random) -> list[IndexEntry]:
        """Draw features of a spec at random, uniformly and with replacement.

        This takes about ``count`` look-ups, however large the store is, if it holds few specs.
        """

        def pick(db: sqlite3.Connection) -> list[IndexEntry]:
            any_row = db.execute("SELECT 1 FROM entries WHERE spec = ? LIMIT 1", (spec,)).fetchone()
            if any_row is None:
                raise InputError(f"{self._root}: no features of spec {spec}")
            # In one statement, MIN and MAX would make SQLite scan all rows.
            first, last = (
                db.execute(f"SELECT {end}(id) FROM entries").fetchone()[0] for end in ("MIN", "MAX")
            )
            drawn: list[IndexEntry] = []
            while len(drawn) < count:
                drawn += _select(db, "WHERE id = ? AND spec = ?", (rng.randint(first, last), spec))
            return drawn

        return self._query(pick)

    def _read_shard(self, db: sqlite3.Connection, shard: Path) -> None:
        matches = (_FILE.fullmatch(path.name) for path in shard.iterdir())
        # A file in the wrong folder is ignored, because it could not be found by its path.
        files = {m[0]: m for m in matches if m is not None and m[0].startswith(shard.name)}
        rows = _select(db, "WHERE content >= ? AND content < ?", (shard.name, shard.name + "g"))
        known = {entry.file.name: entry for entry in rows}
        for name in known.keys() - files.keys():
            where = (known[name].content, known[name].spec)
            db.execute("DELETE FROM entries WHERE content = ? AND spec = ?", where)
        for name in sorted(files.keys() - known.keys()):
            try:
                header = read_feature_header(shard / name)
                size = (shard / name).stat().st_size
            except (InputError, OSError):
                continue  # Damaged, or removed in the meantime.
            content, spec = files[name].groups()
            if _spec_row(header.spec)[0] == spec:
                _insert(db, [IndexEntry(content, spec, header.shape[1], size)], header.spec)

    def _query(self, run: Callable[[sqlite3.Connection], _ResultT], fill: bool = True) -> _ResultT:
        """Call ``run``; if the file is damaged, rebuild it, fill it and call again.

        ``run`` raises ``sqlite3.DatabaseError`` if the contents are impossible. OddframeError if
        the file cannot be opened, written or rebuilt.
        """
        try:
            return self._run(run)
        except _DamagedError as error:
            _log.warning("%s: the index is damaged (%s) and is rebuilt", self._path, error)
        try:
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        except OSError as error:
            raise OddframeError(f"{self._path}: cannot be removed ({error.strerror})") from None
        try:
            if fill:
                self.sync()
            return self._run(run)
        except _DamagedError as error:
            raise OddframeError(f"{self._path}: the index cannot be used ({error})") from None

    def _run(self, run: Callable[[sqlite3.Connection], _ResultT]) -> _ResultT:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._check_size()
            with closing(sqlite3.connect(self._path, timeout=60)) as db, db:
                _prepare(db)
                return run(db)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _NO_INDEX.search(str(error)):
                raise OddframeError(f"{self._path}: the index cannot be used ({error})") from None
            raise _DamagedError(str(error)) from None
        except OSError as error:
            raise OddframeError(f"{self._path}: cannot be written ({error.strerror})") from None

    def _check_size(self) -> None:
        """Detect damage that SQLite would accept: an empty file, or one that ends within a page."""
        if not self._path.is_file():
            return
        status = self._path.stat()
        if status.st_size == 0 and time.time() - status.st_mtime > _EMPTY_S:
            raise _DamagedError("it is empty")
        if status.st_size % _MIN_PAGE_BYTES:
            raise _DamagedError("it was cut off")


@lru_cache(maxsize=64)  # A million entries share a few specs.
def _spec_row(spec: FeatureSpec) -> tuple[str, str]:
    return spec.hash(), json.dumps(spec.to_dict(), sort_keys=True)


def _insert(db: sqlite3.Connection, entries: Iterable[IndexEntry], spec: FeatureSpec) -> None:
    db.execute("INSERT OR IGNORE INTO specs VALUES (?, ?)", _spec_row(spec))
    db.executemany(
        "INSERT OR REPLACE INTO entries (content, spec, snippets, bytes) VALUES (?, ?, ?, ?)",
        ((e.content, e.spec, e.snippets, e.bytes) for e in entries),
    )


def _select(db: sqlite3.Connection, where: str, values: Iterable[object]) -> list[IndexEntry]:
    rows = db.execute(f"SELECT content, spec, snippets, bytes FROM entries {where}", tuple(values))
    return [IndexEntry(*row) for row in rows]


class _DamagedError(Exception):
    """The file is damaged, or not an index."""


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA synchronous = NORMAL")  # Rows that a power cut loses are read again.
    (schema,) = db.execute("PRAGMA user_version").fetchone()
    if schema == _SCHEMA:
        return
    if schema:
        raise sqlite3.DatabaseError(f"of version {schema}, not {_SCHEMA}")
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(_TABLES + f"PRAGMA user_version = {_SCHEMA};")
