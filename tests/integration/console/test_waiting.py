"""What `labelwheel queue` says when it has nothing to show."""

from __future__ import annotations

from sqlalchemy import delete, update

from console.waiting import why_nothing
from labelwheel.database import Database
from labelwheel.database.tables import Project, QueueEvent, QueueItem


def said(database: Database, project: Project, status: str = "open", reason: str | None = None, source: str | None = None) -> str:
    with database.read() as session:
        return why_nothing(session, project.id, status, reason, source)


def test_before_the_first_image_it_is_told_to_send_some(database: Database, project: Project) -> None:
    assert "labelwheel ingest" in said(database, project)


def test_a_source_that_nobody_knows_is_named_with_those_that_are(database: Database, filled: Project) -> None:
    assert said(database, filled, source="line-z") == "No image has come from 'line-z'. There are: line-a, line-b, line-c."


def test_images_that_wait_for_the_selection_are_counted(database: Database, filled: Project) -> None:
    with database.write() as session:
        session.execute(delete(QueueEvent))
        session.execute(delete(QueueItem))
    assert "images have arrived, and none is chosen yet: `labelwheel select --dry-run`" in said(database, filled)


def test_where_all_is_done_it_is_told_how_to_see_it(database: Database, filled: Project) -> None:
    assert "9 approved" not in said(database, filled, reason="novelty")
    with database.write() as session:
        session.execute(update(QueueItem).values(status="approved"))
    assert "Nothing waits for anybody." in said(database, filled) and "--all" in said(database, filled)
    assert "--all" in said(database, filled, reason="novelty")
