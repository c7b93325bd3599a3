"""Rehearse what a pull asks the database while it writes, so that SQLAlchemy has it compiled before a worker forks.

A forked job begins with the statements that its worker knows. It would compile some twenty anew, for 40 ms each time, while it holds the one
lock that SQLite has: as long every webhook would wait, and with it an annotator.
"""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError

from labelwheel.database import Database
from labelwheel.database.tables import Project
from labelwheel.errors import LabelwheelError
from labelwheel.labelstudio.client import KEY
from sync.exchange.mirror import mirror_tasks
from sync.exchange.twins import awaited_keys
from sync.review.approve import parse_policy
from sync.review.reading import Reading
from sync.review.settle import settle

log = structlog.get_logger(__name__)

NOBODY = 0  # no project and no image has this id


def rehearse(database: Database) -> None:
    """Read about a task and an image that do not exist; nothing is written. A database that is not there yet is no fault here."""
    try:
        with database.read() as session:
            mirror_tasks(session, Project(id=NOBODY), [{"id": NOBODY, "data": {KEY: ""}}], {})
            settle(session, NOBODY, Reading((), parse_policy("submit")), [NOBODY])
            awaited_keys(session, NOBODY)
    except (SQLAlchemyError, LabelwheelError) as error:
        log.info("not rehearsed", error=str(error))
    finally:
        database.dispose()  # no connection goes over a fork
