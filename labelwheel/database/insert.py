"""Insert rows that may be there already: the same statement on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, inspect, literal_column
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


def insert_or_add(
    session: Session, table: type[Table], rows: Sequence[dict[str, Any]], keys: Sequence[str], where: ColumnElement[bool], column: str
) -> None:
    """Insert each row; where the partial unique index on `keys` (`where`) has it already, add the new one's `column` to that row's.

    Rows of one call differ in their keys. Whoever calls with several must bring them in one order: two who lock the same rows in different
    orders wait for each other for ever.
    """
    if rows:
        session.execute(_insert_or_add(session.get_bind().dialect.name, table, tuple(keys), where, column), list(rows))


@lru_cache(maxsize=8)
def _insert_or_add(dialect: str, table: type[Table], keys: tuple[str, ...], where: ColumnElement[bool], column: str) -> Any:
    # On the plain table, and made once: the way through mapped objects costs as much as the writing itself.
    plain = table.__table__
    added = {column: plain.c[column] + literal_column(f"excluded.{column}")}
    statement = (sqlite if dialect == "sqlite" else postgresql).insert(plain)
    return statement.on_conflict_do_update(index_elements=list(keys), index_where=where, set_=added)


def _insert(session: Session, table: type[Table]) -> Any:
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
