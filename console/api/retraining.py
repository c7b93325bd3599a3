"""`/api/retraining/…`: where the wheel stands, why it would turn next, how it turned before, and a push."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, url_for
from pydantic import Field

from console.api.query import Query, read
from console.state import state
from retrain.run import status as retraining
from retrain.run.trigger import by_hand

blueprint = Blueprint("retraining", __name__, url_prefix="/api/retraining")


class HistoryQuery(Query):
    limit: int = Field(20, ge=1, le=200)


@blueprint.get("/status")
def status() -> dict[str, Any]:
    """The active run with its percent, the last one, open drift alerts, new labels, whether a retraining is due."""
    with state().project() as (session, project):
        return retraining.status(session, project, state().settings)


@blueprint.get("/conditions")
def conditions() -> dict[str, Any]:
    """Each condition of the policy, in words, and whether it is met."""
    with state().project() as (session, project):
        return retraining.conditions(session, project, state().settings)


@blueprint.get("/history")
def history() -> dict[str, Any]:
    """Ended and active runs, newest first: `?limit=` 1 to 200."""
    limit = read(HistoryQuery).limit
    with state().project() as (session, project):
        return {"runs": retraining.history(session, project, limit)}


@blueprint.post("/trigger")
def start() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Queue a run whatever the policy says: 202 with its id, 409 while one is active or no label is there to train on."""
    with state().project() as (_, project):
        pass
    run = by_hand(state().database, state().settings, project.id)
    return {"run": run.id, "status": run.status}, 202, {"Location": url_for("retraining.status")}
