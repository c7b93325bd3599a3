"""Insert rows that may be there already: the same statement on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from labelwheel.database.tables import Table


def insert_absent(session: Session, table: type[Table], rows: Sequence[dict[str, Any]]) -> None:
    """Insert each row whose unique keys are free; leave the others as they are."""
    if not rows:
        return
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(dialect.insert(table).on_conflict_do_nothing(), list(rows))
