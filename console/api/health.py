"""`GET /health`: for supervisors, without a login and without secrets."""

from __future__ import annotations

import structlog
from flask import Blueprint
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from console.state import state
from labelwheel.errors import LabelwheelError

blueprint = Blueprint("health", __name__)
log = structlog.get_logger(__name__)


class DatabaseUnreachable(LabelwheelError):
    code = "database_unreachable"
    status = 503


@blueprint.get("/health")
def health() -> dict[str, str]:
    """200 while the database answers, else 503."""
    try:
        with state().database.read() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        log.exception("health check failed")
        raise DatabaseUnreachable("The database does not answer.", "Run `labelwheel doctor`.") from error
    return {"status": "ok", "database": "ok"}
