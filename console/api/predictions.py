"""`GET /api/predictions/requests`: how far the background is with tasks that batches left over."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from console.state import state
from labelwheel.database.tables import utcnow
from ml_backend.later import progress

blueprint = Blueprint("predictions", __name__, url_prefix="/api/predictions")


@blueprint.get("/requests")
def requests() -> dict[str, Any]:
    """Tasks that `waiting` since `waiting_since`, and those that ended within a day by outcome."""
    with state().project() as (session, project):
        return progress(session, project.id, utcnow()).as_dict()
