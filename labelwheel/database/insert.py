"""Insert rows that may be there already: the same statement on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from labelwheel.database.tables import Table


def insert_absent(session: Session, table: type[Table], rows: Sequence[dict[str, Any]]) -> None:
    """Insert each row whose unique keys are free; leave the others as they are."""
    if not rows:
        return
    session.execute(_insert(session, table).on_conflict_do_nothing(), list(rows))


def insert_new(session: Session, table: type[Table], row: dict[str, Any]) -> bool:
    """Insert a row if its unique keys are free; False when another has them. Of many at once exactly one is told True."""
    key = inspect(table).primary_key[0]
    return session.scalar(_insert(session, table).values(row).on_conflict_do_nothing().returning(key)) is not None


def _insert(session: Session, table: type[Table]) -> Any:
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
