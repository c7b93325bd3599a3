"""Connections. SQLite in WAL mode by default, PostgreSQL by URL; the same neutral SQL for both.

Writes take SQLite's lock at their beginning (BEGIN IMMEDIATE): a transaction that starts as a reader and writes later
fails at once with "database is locked" instead of waiting its turn. Keep transactions short; none may span HTTP or inference.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from labelwheel.errors import DatabaseMissing
from labelwheel.settings import get_settings

BUSY_SECONDS = 30
TRY_SECONDS = 0.002


class Database:
    """Read and write sessions on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _create(url)
        self._file = _file(url)
        self._writer = self.engine.execution_options(labelwheel_write=True)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one consistent state; rows stay usable after it closes."""
        self._require_file()
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that commits at the end, or rolls back when its block raises."""
        self._require_file()
        with Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    def make_room(self) -> None:
        """Make the folder of a new database."""
        if self._file:
            self._file.parent.mkdir(parents=True, exist_ok=True)

    def dispose(self) -> None:
        self.engine.dispose()

    def _require_file(self) -> None:
        # SQLite would make an empty file, and the first query would stumble over a missing table.
        if self._file and not self._file.exists():
            message = f"There is no database at {self._file}: nothing was started there yet."
            raise DatabaseMissing(message, "Start with `labelwheel up`, run this in its folder, or set LABELWHEEL_HOME.")


_OPEN: WeakSet[Database] = WeakSet()


@lru_cache(maxsize=4)
def _database(url: str) -> Database:
    database = Database(url)
    _OPEN.add(database)
    return database


def get_database(url: str | None = None) -> Database:
    """The process's database, one engine per URL."""
    return _database(url or get_settings().database_url)


def _forget_connections() -> None:
    # RQ forks a work-horse per job: a connection shared over a fork corrupts both sides. What the parent has compiled is of use.
    for database in _OPEN:
        database.engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)


def _file(url: str) -> Path | None:
    parsed = make_url(url)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def _create(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=15)
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get("labelwheel_write", False):
        connection.exec_driver_sql("BEGIN")
        return
    raw: Any = connection.connection.driver_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        if not _await_turn(raw):
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # fails once more, as an error of SQLAlchemy's
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")


def _await_turn(raw: sqlite3.Connection) -> bool:
    """Begin to write as soon as nobody else does; whether that came to pass within `BUSY_SECONDS`.

    SQLite itself would wait in steps that grow to 100 ms: who waits for a moment's transaction would wait twice its time, and who has
    waited longest would come last.
    """
    until = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < until:
        try:
            raw.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                return False
            time.sleep(TRY_SECONDS)
        else:
            return True
    return False
