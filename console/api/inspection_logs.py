"""`GET /api/inspection-logs`: captures, what the model saw on them, and how unsure it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from flask import Blueprint
from pydantic import AfterValidator, Field

from console.api.query import PRINTABLE, Query, read
from console.inspections import Wanted, inspections
from console.state import state

blueprint = Blueprint("inspection_logs", __name__, url_prefix="/api")


def in_utc(value: datetime) -> datetime:
    """Without a zone it is UTC."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:  # pydantic takes ValueError alone for a fault of the caller
        raise ValueError("out of range") from error


Moment = Annotated[datetime, AfterValidator(in_utc)]


class LogQuery(Query):
    limit: int = Field(50, ge=1, le=500)
    uncertain: bool = False
    source: str | None = Field(None, max_length=100, pattern=PRINTABLE)
    since: Moment | None = None
    until: Moment | None = None
    after: str | None = Field(None, max_length=100, description="`next` of the page before")


@blueprint.get("/inspection-logs")
def listing() -> dict[str, Any]:
    """The newest first: `?uncertain=true`, `?source=`, `?since=`, `?until=` (captured_at), `?limit=`, `?after=`."""
    query = read(LogQuery)
    with state().project() as (session, project):
        return inspections(session, project, state().settings, Wanted(**query.model_dump()))
