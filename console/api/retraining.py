"""`/api/retraining/…`: where the wheel stands, why it would turn next, how it turned before, a push and a brake."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, url_for
from pydantic import Field

from console import progress
from console.api.query import Body, Name, Note, Query, read, read_body_if_any
from console.listen import LEAVING
from console.state import state
from labelwheel.errors import BackpressureError
from retrain.run import status as retraining
from retrain.run.receipt import receipt
from retrain.run.trigger import by_hand, cancel_by_hand
from retrain.training.asked import Asked

blueprint = Blueprint("retraining", __name__, url_prefix="/api/retraining")


class HistoryQuery(Query):
    limit: int = Field(20, ge=1, le=200)
    after: int | None = Field(None, ge=1, le=2**31 - 1, description="`next` of the page before")


class Push(Body):
    """Who wants a run, and why. `recipe`: where it starts and how it trains; what is not named is as the settings say."""

    who: Name = "API"
    note: Note = ""
    recipe: Asked = Asked()


class Brake(Body):
    """Which run ends, who wants it, and why. Without `run` it is the active one."""

    run: int | None = Field(None, ge=1, le=2**31 - 1)
    who: Name = "API"
    why: Note = ""


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
    """Ended and active runs, newest first: `?limit=` 1 to 200, `?after=`; `next` is null on the last page."""
    query = read(HistoryQuery)
    with state().project() as (session, project):
        runs = retraining.history(session, project, query.limit, query.after)
    return {"runs": runs, "next": runs[-1]["id"] if len(runs) == query.limit else None}


@blueprint.get("/events")
def events() -> Response:
    """The active run as server-sent events: `progress` with each change, then `end`; `idle` while none is under way."""
    with state().project() as (_, project):
        pass
    seats, database = state().seats, state().database
    run = progress.active_run(database, project.id)
    if run is None:
        return _streamed(Response(progress.idle(), mimetype="text/event-stream"))
    if not seats.acquire(blocking=False):
        raise BackpressureError(f"{progress.SEATS} programs follow the training already.", "Ask `GET /api/retraining/status` instead.")
    response = Response(progress.stream(lambda: progress.look_at(database, run), LEAVING.wait), mimetype="text/event-stream")
    response.call_on_close(seats.release)
    return _streamed(response)


@blueprint.post("/trigger")
def start() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Queue a run whatever the policy says: 202 with its id, 409 while one is active or no label is there to train on."""
    wanted = read_body_if_any(Push)
    with state().project() as (_, project):
        pass
    run = by_hand(state().database, state().settings, project.id, wanted.recipe.stored(), wanted.who, wanted.note)
    return {"run": run.id, "status": run.status}, 202, {"Location": url_for("retraining.show", run=run.id)}


@blueprint.post("/cancel")
def cancel() -> dict[str, Any]:
    """End the active run, or the one that is named; its trainer is gone within seconds. 404 when there is none, 409 when it has ended."""
    wanted = read_body_if_any(Brake)
    with state().project() as (_, project):
        pass
    return {"run": cancel_by_hand(state().database, project.id, wanted.run, wanted.who, wanted.why), "status": "cancelled"}


@blueprint.get("/<int:run>")
def show(run: int) -> dict[str, Any]:
    """One run, as in the history."""
    with state().project() as (session, project):
        return retraining.one(session, project, run)


@blueprint.get("/<int:run>/receipt")
def show_receipt(run: int) -> dict[str, Any]:
    """What the labels of a run bought, and what they cost."""
    with state().project() as (session, project):
        return receipt(session, project.id, run, state().settings)


def _streamed(response: Response) -> Response:
    """No proxy shall wait for the end of it."""
    response.headers["X-Accel-Buffering"] = "no"
    return response
