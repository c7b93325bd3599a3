"""`/api/labeling-queue`: what people shall look at, most urgent first."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint
from pydantic import Field

from console.api.query import Query, read
from console.state import state
from sync import queue

blueprint = Blueprint("labeling_queue", __name__, url_prefix="/api/labeling-queue")


class QueueQuery(Query):
    limit: int = Field(50, ge=1, le=500)
    status: Literal["pending", "pushed", "labeled", "approved", "rejected", "skipped", "expired"] | None = None
    reason: Literal["low_confidence", "audit", "drift", "novelty", "disagreement", "label_error", "adopted"] | None = None


@blueprint.get("")
def listing() -> dict[str, Any]:
    """Items: `?limit=` 1 to 500, `?status=`, `?reason=`."""
    query = read(QueueQuery)
    with state().project() as (session, project):
        return {"items": queue.listing(session, project.id, query.limit, query.status, query.reason)}


@blueprint.get("/stats")
def stats() -> dict[str, Any]:
    """Counts by status, and by reason and status."""
    with state().project() as (session, project):
        return queue.stats(session, project.id)
