"""A lease: one holder at a time, over any number of hosts, lapsing by itself when the holder dies.

RQ refuses a second job of the same name, but a flushed Redis forgets that one is running. What must not run twice at once
(a push: Label Studio never deduplicates) holds a lease in the database.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import delete, update

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Lease, utcnow


class HeldLease:
    """A lease in hand. `renew` it between steps; False means that it lapsed and somebody else may hold it."""

    def __init__(self, database: Database, name: str, holder: str, seconds: float) -> None:
        self._database, self._name, self._holder, self._seconds = database, name, holder, seconds

    def renew(self) -> bool:
        until = utcnow() + timedelta(seconds=self._seconds)
        mine = update(Lease).where(Lease.name == self._name, Lease.holder == self._holder).values(expires_at=until)
        with self._database.write() as session:
            return bool(session.execute(mine).rowcount)  # type: ignore[attr-defined]


@contextmanager
def hold(database: Database, name: str, seconds: float = 120) -> Iterator[HeldLease | None]:
    """Hold the lease for the block, or yield None while another holder has it."""
    holder = uuid.uuid4().hex
    if not _take(database, name, holder, seconds):
        yield None
        return
    try:
        yield HeldLease(database, name, holder, seconds)
    finally:
        with database.write() as session:
            session.execute(delete(Lease).where(Lease.name == name, Lease.holder == holder))


def _take(database: Database, name: str, holder: str, seconds: float) -> bool:
    now = utcnow()
    with database.write() as session:
        session.execute(delete(Lease).where(Lease.name == name, Lease.expires_at < now))
        insert_absent(session, Lease, [{"name": name, "holder": holder, "expires_at": now + timedelta(seconds=seconds)}])
        session.expire_all()
        row = session.get(Lease, name)
        return row is not None and row.holder == holder
