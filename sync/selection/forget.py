"""What old selections chose from is forgotten, and what any held of an image that is erased: verdict, reasons and rules stay.

One decision over a large pool takes up to some megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select

from labelwheel.database import Database
from labelwheel.database.tables import Decision, Image
from labelwheel.settings import Settings
from sync.selection.budget import FIRST_BATCH, SELECTION
from sync.selection.replay import PACKED, holds, without_images, without_packed

PORTION = 20  # decisions in one transaction


def forget(database: Database, settings: Settings, now: datetime) -> int:
    """Let what decisions older than `replay_days` chose from go; how many there were. Again it changes nothing."""
    if not settings.replay_days:
        return 0
    gone, before = 0, now - timedelta(days=settings.replay_days)
    while ids := _portion(database, Decision.at < before):
        _strip(database, ids, now)
        gone += len(ids)
    return gone


def forget_image(database: Database, image: Image) -> int:
    """Let what selections of its project hold of an image go, and of it alone; how many held it. Again it changes nothing."""
    gone, last = 0, 0
    while ids := _portion(database, Decision.project_id == image.project_id, Decision.id > last):
        for decision_id in ids:
            gone += _take_out(database, decision_id, image.id)
        last = ids[-1]
    return gone


def _take_out(database: Database, decision_id: int, image_id: int) -> bool:
    with database.read() as session:  # nobody waits while all are unpacked
        if not holds(session.get_one(Decision, decision_id).inputs, (image_id,)):
            return False
    with database.write() as session:
        row = session.get_one(Decision, decision_id, with_for_update=True)
        row.inputs = without_images(row.inputs, (image_id,))
    return True


def _portion(database: Database, *which: ColumnElement[bool]) -> Sequence[int]:
    """Selections of these that hold what they chose from; the first of PACKED stands for all."""
    packed = Decision.inputs[PACKED[0]].as_string().is_not(None)
    query = select(Decision.id).where(Decision.kind.in_((SELECTION, FIRST_BATCH)), packed, *which).order_by(Decision.id).limit(PORTION)
    with database.read() as session:
        return list(session.scalars(query))


def _strip(database: Database, ids: Sequence[int], now: datetime) -> None:
    with database.write() as session:
        for row in session.scalars(select(Decision).where(Decision.id.in_(ids))):
            row.inputs = without_packed(row.inputs, now)
