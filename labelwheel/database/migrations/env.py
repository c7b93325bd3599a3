"""Alembic's environment: migrations run in one transaction on the URL that `migrate` was given."""

from __future__ import annotations

from alembic import context

from labelwheel.database.engine import Database
from labelwheel.database.tables import Table


def _run() -> None:
    database = Database(context.config.get_main_option("sqlalchemy.url") or "")
    database.make_room()
    try:
        with database.engine.execution_options(labelwheel_write=True).begin() as connection:
            context.configure(
                connection=connection, target_metadata=Table.metadata, render_as_batch=True, transactional_ddl=True, compare_type=True
            )
            context.run_migrations()
    finally:
        database.dispose()


_run()
