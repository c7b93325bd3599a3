"""What old selections chose from is forgotten: verdict, reasons and rules stay. One decision over a large pool takes up to some megabytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Select, select

from labelwheel.database import Database
from labelwheel.database.tables import Decision
from labelwheel.settings import Settings
from sync.selection.budget import FIRST_BATCH, SELECTION
from sync.selection.replay import PACKED, without_packed

PORTION = 20  # decisions in one transaction


def forget(database: Database, settings: Settings, now: datetime) -> int:
    """Let what decisions older than `replay_days` chose from go; how many there were. Again it changes nothing."""
    if not settings.replay_days:
        return 0
    gone, before = 0, now - timedelta(days=settings.replay_days)
    while ids := _portion(database, before):
        _strip(database, ids, now)
        gone += len(ids)
    return gone


def _portion(database: Database, before: datetime) -> Sequence[int]:
    with database.read() as session:
        return list(session.scalars(_whole(before).limit(PORTION)))


def _whole(before: datetime) -> Select[int]:
    """Selections of before then that can still be replayed; the first of PACKED stands for all."""
    packed = Decision.inputs[PACKED[0]].as_string().is_not(None)
    return select(Decision.id).where(Decision.kind.in_((SELECTION, FIRST_BATCH)), Decision.at < before, packed).order_by(Decision.id)


def _strip(database: Database, ids: Sequence[int], now: datetime) -> None:
    with database.write() as session:
        for row in session.scalars(select(Decision).where(Decision.id.in_(ids))):
            row.inputs = without_packed(row.inputs, now)
