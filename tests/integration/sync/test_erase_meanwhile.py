"""An image that is erased while a pull mirrors it: neither waits for the other for ever, and nothing comes back of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Image, Label, LsTask, Project, QueueItem
from sync.exchange.mirror import locked_tasks, mirror_tasks
from sync.review.erase import bury, find_image
from sync.review.settle import mark_deleted, settle
from tests.fixtures.line import Line
from tests.fixtures.tasks import PEOPLE, Tray, annotation, drawn

FIRST = annotation(1, drawn(10))
PATIENCE_SECONDS = 20.0


@pytest.fixture
def tray(either_line: Line) -> Tray:
    """One labelled image."""
    tray = Tray(either_line)
    (key,) = tray.push(1)
    tray.see(tray.task(key, FIRST))
    return tray


@contextmanager
def erasing(tray: Tray) -> Iterator[Callable[[], None]]:
    """An erasure that begins when it is called for: then it waits for a lock, or has ended. It has at the end."""
    line, reading = tray.line, tray.reading
    with line.database.read() as session:
        image = find_image(session, line.project.id, "c-1")
    failures: list[SQLAlchemyError] = []

    def erase() -> None:
        try:
            bury(line.database, line.project, reading, image, "boss", "why")
        except SQLAlchemyError as failure:
            failures.append(failure)

    thread = threading.Thread(target=erase)

    def begin() -> None:
        thread.start()
        if line.database.engine.dialect.name == "postgresql":
            _await(lambda: not thread.is_alive() or _somebody_waits(line))

    yield begin
    thread.join(PATIENCE_SECONDS)
    assert (thread.is_alive(), failures) == (False, [])


def _somebody_waits(line: Line) -> bool:
    with line.database.read() as session:
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        return bool(session.scalar(text(waiting)))


def _await(done: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < until
        time.sleep(0.01)


def left(line: Line) -> tuple[set[str], set[int], set[int]]:
    """Statuses of the items; how many boxes standing labels have; how many regions annotations have."""
    with line.database.read() as session:
        labels = session.scalars(select(Label)).all()
        assert all(label.withdrawn_at for label in labels)
        bodies = session.scalars(select(AnnotationRevision.body)).all()
        return (
            set(session.scalars(select(QueueItem.status))),
            {len(label.boxes) for label in labels},
            {len(body["result"]) for body in bodies},
        )


@pytest.mark.parametrize(
    "entries", [(FIRST, annotation(2, drawn(50), seconds=9, created=9)), ()], ids=["a-new-annotation", "a-deleted-one"]
)
def test_an_image_that_is_erased_while_it_is_mirrored_stays_erased(tray: Tray, entries: tuple[Any, ...]) -> None:
    with tray.line.database.read() as session:
        key = session.scalars(select(LsTask.key)).one()
    line, reading = tray.line, tray.reading
    task = tray.task(key, *entries)
    with erasing(tray) as begin, line.database.write() as session:
        project = session.get_one(Project, line.project.id)
        change = mirror_tasks(session, project, [task], PEOPLE)
        session.flush()
        begin()
        settle(session, project.id, reading, change.touched, change.keys)
    assert left(tray.line) == ({"expired"}, {0}, {0})


def test_a_deletion_that_the_pull_notes_and_an_erasure_wait_for_each_other_once(tray: Tray, monkeypatch: pytest.MonkeyPatch) -> None:
    line, reading = tray.line, tray.reading
    with erasing(tray) as begin, line.database.write() as session:

        def settled(session: Session, *rest: Any) -> None:
            session.flush()
            begin()
            settle(session, *rest)

        monkeypatch.setattr("sync.review.settle.settle", settled)
        rows = list(session.scalars(locked_tasks().where(LsTask.project_id == line.project.id)))
        mark_deleted(session, line.project.id, reading, rows)
    assert left(line) == ({"expired"}, {0}, {0})


def test_what_follows_from_the_mirror_is_read_when_the_wait_for_its_image_is_over(tray: Tray) -> None:
    line, reading = tray.line, tray.reading
    if line.database.engine.dialect.name == "sqlite":
        pytest.skip("nobody erases there while somebody else writes")
    with line.database.write() as session:
        known = session.scalars(select(AnnotationRevision)).one()
        image = session.scalars(select(Image)).one()
        bury(line.database, line.project, reading, image, "boss", "why")
        assert len(known.body["result"]) == 1, "as it was when it was read"
        settle(session, line.project.id, reading, [image.id])
    assert left(line) == ({"expired"}, {0}, {0})
