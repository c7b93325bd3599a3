"""`GET /api/metrics/corrections`: what people did to the boxes that were drawn beforehand."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from console.api.query import Query, read
from console.state import state
from sync.corrections.counts import By, corrections

blueprint = Blueprint("corrections", __name__, url_prefix="/api/metrics")


class CorrectionsQuery(Query):
    by: By = "class"


@blueprint.get("/corrections")
def show() -> dict[str, Any]:
    """Counts in all, and by `?by=` class, source or model: the JSON of `labelwheel corrections`."""
    query = read(CorrectionsQuery)
    with state().project() as (session, project):
        return corrections(session, project.id, query.by)
