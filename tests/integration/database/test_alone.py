"""What only one may do, over threads and hosts: ticks and leases, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, func, select, text, update
from sqlalchemy.exc import OperationalError

from labelwheel import schedule
from labelwheel.database import Database, migrate
from labelwheel.database.engine import _begin_sqlite
from labelwheel.database.tables import Lease, Project, Tick, utcnow
from labelwheel.lease import hold
from labelwheel.settings import PREFIX, Settings, get_settings
from tests.fixtures.database import add_project

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAMES = {"sync.select", "sync.pull", "sync.check", "sync.expire", "retrain.consider", "drift.check", "ml_backend.retain", "sweep"}


@pytest.fixture(autouse=True)
def _silent_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "HOME", str(tmp_path))
    get_settings.cache_clear()


def together(act: Callable[[int], object], workers: int = 8) -> list[object]:
    start = threading.Barrier(workers)

    def run(number: int) -> object:
        start.wait()
        return act(number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def lapse(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Lease).values(expires_at=utcnow() - timedelta(seconds=1)))


def test_two_schedulers_fire_each_tick_once(either_database: Database) -> None:
    settings = Settings()
    fired = together(lambda _: schedule.turn(either_database, settings, NOON), 4)
    assert sorted(name for names in fired for name in names) == sorted(NAMES)  # type: ignore[attr-defined]
    with either_database.read() as session:
        assert session.scalar(select(func.count()).select_from(Tick)) == len(NAMES)


def test_a_tick_fires_again_when_its_interval_is_over_and_not_before(either_database: Database) -> None:
    settings = Settings(tick_select=60, tick_pull=60, tick_policy=60, tick_drift=300, tick_sweep=15)
    assert set(schedule.turn(either_database, settings, NOON)) == NAMES
    assert schedule.turn(either_database, settings, NOON + timedelta(seconds=14)) == []
    assert schedule.turn(either_database, settings, NOON + timedelta(seconds=15)) == ["sweep"]
    assert set(schedule.turn(either_database, settings, NOON + timedelta(seconds=60))) == NAMES - {
        "drift.check",
        "sync.check",
        "sync.expire",
        "ml_backend.retain",
    }


def test_a_clock_that_jumps_back_fires_nothing_twice_and_a_long_sleep_fires_once(either_database: Database) -> None:
    settings = Settings()
    schedule.turn(either_database, settings, NOON)
    assert set(schedule.turn(either_database, settings, NOON + timedelta(hours=8))) == NAMES
    assert schedule.turn(either_database, settings, NOON) == []


def test_a_lease_has_one_holder(either_database: Database) -> None:
    done = threading.Event()
    inside: list[int] = []

    def work(number: int) -> bool:
        with hold(either_database, "push:1") as lease:
            if lease is None:
                return False
            inside.append(number)
            done.wait(0.3)
            return True

    assert sum(together(work)) == len(inside) == 1  # type: ignore[arg-type]


def test_a_lease_is_free_after_its_block_whatever_happened_there(either_database: Database) -> None:
    with pytest.raises(RuntimeError), hold(either_database, "push:1"):
        raise RuntimeError
    with hold(either_database, "push:1") as lease, hold(either_database, "push:1") as second, hold(either_database, "push:2") as other:
        assert lease
        assert second is None
        assert other


def test_a_lease_lapses_when_its_holder_is_gone_and_renewing_keeps_it(either_database: Database) -> None:
    with hold(either_database, "push:1", seconds=60) as first:
        assert first
        lapse(either_database)
        assert first.renew()
        with hold(either_database, "push:1") as early:
            assert early is None
        lapse(either_database)
        with hold(either_database, "push:1") as second:
            assert second
            assert not first.renew(), "the first holder must learn that it lost the lease"
            assert second.renew()


def test_the_first_holder_does_not_take_the_lease_of_the_second_away(either_database: Database) -> None:
    first = hold(either_database, "push:1")
    first.__enter__()
    lapse(either_database)
    with hold(either_database, "push:1"):
        first.__exit__(None, None, None)
        with hold(either_database, "push:1") as third:
            assert third is None


def test_writers_take_turns(either_database: Database) -> None:
    add_project(either_database)

    def count(_: int) -> None:
        for _ in range(20):
            with either_database.write() as session:
                row = session.scalars(select(Project).with_for_update()).one()
                row.ls_project_id += 1

    together(count, 4)
    with either_database.read() as session:
        assert session.scalars(select(Project.ls_project_id)).one() == 81


def test_who_waits_too_long_for_sqlite_is_told_so_and_may_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelwheel.database.engine.BUSY_SECONDS", 1)
    migrate(f"sqlite:///{tmp_path / 'line.db'}")
    database = Database(f"sqlite:///{tmp_path / 'line.db'}")
    add_project(database)
    with database.write() as session:
        session.scalars(select(Project).with_for_update()).one()
        with pytest.raises(OperationalError, match="database is locked"):
            add_project(database, 2)
    add_project(database, 2)


def test_a_database_that_cannot_be_written_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelwheel.database.engine.BUSY_SECONDS", 3600)
    migrate(f"sqlite:///{tmp_path / 'line.db'}")
    engine = create_engine(f"sqlite:///file:{tmp_path / 'line.db'}?mode=ro&uri=true", execution_options={"labelwheel_write": True})
    event.listen(engine, "begin", _begin_sqlite)
    with pytest.raises(OperationalError, match="readonly"), engine.connect() as connection:
        connection.execute(text("DELETE FROM project"))
