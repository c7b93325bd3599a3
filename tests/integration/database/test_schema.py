"""The schema as the migrations make it, on SQLite and on PostgreSQL: equal to the tables, and guarding what must be unique."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic import command
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from labelwheel.database import Database, migrate
from labelwheel.database.insert import insert_absent
from labelwheel.database.migrate import alembic_config
from labelwheel.database.tables import ENDED_RUN_STATUSES, Alert, DriftReport, Hint, Image, Table, Tick, TrainingRun
from tests.fixtures.database import add_project

NOON = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)


def image(project_id: int, number: int, **changes: Any) -> dict[str, Any]:
    row = {"project_id": project_id, "sha256": f"{number:064x}", "width": 9, "height": 9, "size": 9, "uri": "u", "created_at": NOON}
    return {**row, **changes}


def test_the_migrations_make_what_the_tables_say(empty_url: str) -> None:
    migrate(empty_url)
    command.check(alembic_config(empty_url))  # raises when a migration is missing
    migrate(empty_url)
    database = Database(empty_url)
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM alembic_version")) == 1
        assert {table: session.scalar(text(f"SELECT count(*) FROM {table}")) for table in Table.metadata.tables} == dict.fromkeys(
            Table.metadata.tables, 0
        )
    database.dispose()


def test_one_run_is_active_and_ended_ones_do_not_count(either_database: Database) -> None:
    project, other = add_project(either_database, 1), add_project(either_database, 2)
    with either_database.write() as session:
        session.add_all(TrainingRun(project_id=project.id, status=status, cause="manual") for status in ENDED_RUN_STATUSES)
        session.add_all(TrainingRun(project_id=one.id, status="training", cause="manual") for one in (project, other))
    for status in ("queued", "exporting", "training", "evaluating"):
        with pytest.raises(IntegrityError), either_database.write() as session:
            session.add(TrainingRun(project_id=project.id, status=status, cause="manual"))


def test_one_alert_of_a_fault_is_open(either_database: Database) -> None:
    project = add_project(either_database)
    with either_database.write() as session:
        report = DriftReport(
            project_id=project.id, source="a", feature="brightness", method="wasserstein", score=1, threshold=0.8, drifted=True,
            reference_size=40, window_size=40, last_capture_id=1, summary={},
        )  # fmt: skip
        session.add(report)
    alert = {"project_id": project.id, "drift_report_id": report.id, "source": "a", "feature": "brightness", "message": "m"}
    with either_database.write() as session:
        session.add_all([Alert(**alert, resolved_at=NOON), Alert(**alert, resolved_at=NOON), Alert(**alert)])
        session.add(Alert(**{**alert, "source": "b"}))
    with pytest.raises(IntegrityError), either_database.write() as session:
        session.add(Alert(**alert))


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=11))])
def test_an_instant_comes_back_as_itself_in_utc(either_database: Database, zone: timezone) -> None:
    with either_database.write() as session:
        session.add(Tick(name="n", fire_time=NOON.astimezone(zone)))
    with either_database.read() as session:
        found = session.scalars(select(Tick)).one().fire_time
        assert session.scalar(select(Tick.id).where(Tick.fire_time == NOON, Tick.fire_time < NOON + timedelta(microseconds=1)))
    assert (found, found.utcoffset()) == (NOON, timedelta(0))


def test_an_instant_without_zone_is_refused(either_database: Database) -> None:
    with pytest.raises(StatementError, match="needs a time zone"), either_database.write() as session:
        session.add(Tick(name="n", fire_time=NOON.replace(tzinfo=None)))


def test_insert_absent_leaves_what_is_there(either_database: Database) -> None:
    project = add_project(either_database)
    with either_database.write() as session:
        insert_absent(session, Image, [])
        insert_absent(session, Image, [image(project.id, n) for n in range(3)])
        insert_absent(session, Image, [image(project.id, n, uri="another") for n in range(5)])
    with either_database.read() as session:
        assert list(session.scalars(select(Image.uri).order_by(Image.sha256))) == ["u", "u", "u", "another", "another"]


def test_a_block_that_raises_leaves_nothing(either_database: Database) -> None:
    project = add_project(either_database)
    with pytest.raises(RuntimeError), either_database.write() as session:
        session.add(Hint(project_id=project.id, action="A", task_ids=[]))
        session.flush()
        raise RuntimeError
    with either_database.read() as session:
        assert session.scalar(select(func.count()).select_from(Hint)) == 0


def test_writers_side_by_side_lose_nothing(either_database: Database) -> None:
    """Each first reads and then writes: the kind of transaction that SQLite refuses at once when it begins as a reader."""
    project = add_project(either_database)
    start = threading.Barrier(8)

    def write(worker: int) -> None:
        start.wait()
        for n in range(25):
            with either_database.write() as session:
                session.scalar(select(func.count()).select_from(Hint))
                session.add(Hint(project_id=project.id, action=f"{worker}-{n}", task_ids=[n]))
                insert_absent(session, Image, [image(project.id, n)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    with either_database.read() as session:
        assert set(session.scalars(select(Hint.action))) == {f"{worker}-{n}" for worker in range(8) for n in range(25)}
        assert session.scalar(select(func.count()).select_from(Image)) == 25


def test_foreign_keys_are_kept(either_database: Database) -> None:
    project = add_project(either_database)
    with either_database.write() as session:
        session.add(Hint(project_id=project.id, action="A", task_ids=[]))
    with pytest.raises(IntegrityError), either_database.write() as session:
        session.execute(delete(type(project)))
