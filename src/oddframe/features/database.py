"""The SQLite file of a store's index: one that is damaged, or of another version, is made anew."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from oddframe.errors import OddframeError

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

    def ask(
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
