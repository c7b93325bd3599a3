"""What a worker rehearses before it forks: what it asks while it writes is known to the child, and nothing is written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.engine.interfaces import CacheStats

from labelwheel.database import Database, engine, get_database
from labelwheel.database.tables import AnnotationRevision, Project
from labelwheel.labelstudio.twin_server import TwinServer
from sync.exchange.pull import pull
from sync.exchange.rehearse import rehearse
from tests.fixtures.line import Line
from tests.fixtures.plant import USERS, Plant
from tests.fixtures.tasks import drawn

MOMENTS = ("FROM lease", "FROM project")  # asked in short transactions of their own


def selects(database: Database) -> list[tuple[str, bool]]:
    """What is asked from now on inside of transactions that write, and whether it was compiled before."""
    asked: list[tuple[str, bool]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        writes = connection.get_execution_options().get("labelwheel_write", False)
        if writes and statement.startswith("SELECT") and not any(table in statement for table in MOMENTS):
            asked.append((statement, context.cache_hit is CacheStats.CACHE_HIT))

    return asked


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_pull_asks_only_what_its_worker_has_compiled(either_line: Line, tmp_path: Path) -> None:
    plant = Plant(either_line, TwinServer(USERS))
    task, other = plant.pushed(1, 2)
    plant.server.annotate(task, [drawn(10)])
    plant.server.annotate(other, [drawn(20)])
    engine._database.cache_clear()  # as in a worker that has just begun
    database = get_database(either_line.database.url)
    rehearse(database)
    child = os.fork()
    if child == 0:
        try:
            asked = selects(get_database(either_line.database.url))
            pull(get_database(either_line.database.url), plant.line.settings, plant.client)
            (tmp_path / "asked").write_text(json.dumps(asked))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    found = json.loads((tmp_path / "asked").read_text())
    assert len(found) >= 8
    assert [statement for statement, known in found if not known] == []
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(AnnotationRevision)) == 2, "the child wrote with a connection of its own"


def test_a_rehearsal_writes_nothing_and_minds_no_missing_table(either_line: Line, tmp_path: Path) -> None:
    rehearse(either_line.database)
    with either_line.database.read() as session:
        assert session.scalars(select(Project.id)).all() == [either_line.project.id]
        assert session.scalar(select(func.count()).select_from(AnnotationRevision)) == 0
    (tmp_path / "empty.db").touch()
    rehearse(Database(f"sqlite:///{tmp_path / 'empty.db'}"))
    rehearse(Database(f"sqlite:///{tmp_path / 'none.db'}"))
