"""`GET /api/metrics/drift`: scores per source and feature over time, and open alerts."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from console.state import state
from drift.metrics import metrics

blueprint = Blueprint("drift", __name__, url_prefix="/api/metrics")


@blueprint.get("/drift")
def drift() -> dict[str, Any]:
    with state().project() as (session, project):
        return metrics(session, project, state().settings)
