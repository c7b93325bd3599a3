"""`/api/labeling-queue`: what people shall look at, most urgent first, their answers, and the labels that came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from flask import Blueprint, Response
from pydantic import Field

from console.api.query import PRINTABLE, Body, Name, Note, Query, read, read_body
from console.export import files, gathered, zipped
from console.state import state
from labelwheel.storage import ImageStore
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from retrain.dataset.format import Format
from sync import queue
from sync.review import answer
from sync.review.said import Said as Saying
from sync.review.window import Window, open_window

blueprint = Blueprint("labeling_queue", __name__, url_prefix="/api/labeling-queue")

Status = Literal["pending", "pushed", "labeled", "approved", "rejected", "skipped", "expired"]
Shown = Literal["open", "all", Status]
Again = Annotated[str, Field(max_length=40, pattern=PRINTABLE)]
Edge = Annotated[float, Field(allow_inf_nan=False)]
MOST_BOXES = 1000


class QueueQuery(Query):
    limit: int = Field(50, ge=1, le=500)
    status: Shown = Field("open", description="`open`: pending, pushed or labeled")
    reason: Literal["low_confidence", "audit", "drift", "novelty", "disagreement", "label_error", "adopted"] | None = None
    source: str | None = Field(None, max_length=100, pattern=PRINTABLE)
    after: str | None = Field(None, max_length=100, description="`next` of the page before")


class ExportQuery(Query):
    format: Format = Format.yolo
    images: bool = True


class Said(Body):
    """Who says it, and why. `status`: where the item stood when they looked; if it stands elsewhere now, the answer is 409."""

    who: Name
    why: Note = ""
    status: Status | None = None

    def said(self) -> Saying:
        return Saying(self.who, self.why, self.status)


class Skip(Said):
    """`again`: as a 409 told it, for an earlier answer of theirs that is given once more after somebody else's."""

    again: Again = ""

    def said(self) -> Saying:
        return Saying(self.who, self.why, self.status, self.again)


class Drawn(Body):
    """One box: left, top, right, bottom in pixels of the upright image."""

    label: Name
    box: Annotated[list[Edge], Field(min_length=4, max_length=4)]


class Label(Skip):
    """All boxes of the image; none says "nothing is there". `lead_time`: seconds that it took."""

    boxes: Annotated[list[Drawn], Field(max_length=MOST_BOXES)]
    lead_time: float | None = Field(None, ge=0, le=86400, allow_inf_nan=False)

    def drawn(self) -> list[LabelledBox]:
        return [LabelledBox(drawn.label, Box(*drawn.box)) for drawn in self.boxes]


@blueprint.get("")
def listing() -> dict[str, Any]:
    """Items: `?limit=` 1 to 500, `?status=` (open, if nothing is said), `?reason=`, `?source=`, `?after=`; `next` is null on the last page."""
    query = read(QueueQuery)
    with state().project() as (session, project):
        items = queue.listing(session, project.id, query.limit, query.status, query.reason, query.source, query.after)
    return {"items": items, "next": queue.cursor_of(items[-1]) if len(items) == query.limit else None}


@blueprint.get("/stats")
def stats() -> dict[str, Any]:
    """Counts by status, and by reason and status."""
    with state().project() as (session, project):
        return queue.stats(session, project.id)


@blueprint.get("/export")
def export() -> Response:
    """Approved labels as a zip of a folder that ultralytics reads: `?format=yolo` or another; `?images=false` leaves the images out."""
    query = read(ExportQuery)
    what = gathered(state().database, state().settings, query.format, images=query.images)
    pieces = zipped(files(what, state().database, ImageStore(state().settings.images_dir), images=query.images))
    name = f"{what.name}.zip"
    return Response(pieces, mimetype="application/zip", headers={"Content-Disposition": f'attachment; filename="{name}"'})


@blueprint.get("/<int:item>")
def show(item: int) -> dict[str, Any]:
    """An item with its history, verdicts and standing labels."""
    with state().project() as (session, project):
        return queue.show(session, project.id, item)


@blueprint.post("/<int:item>/label")
def label(item: int) -> dict[str, Any]:
    """Submit a label; it becomes an annotation in Label Studio. Answers the item as it stands then."""
    body = read_body(Label)
    return answer.label(_window(), item, body.drawn(), body.said(), body.lead_time)


@blueprint.post("/<int:item>/approve")
def approve(item: int) -> dict[str, Any]:
    """Approve the newest label; it gets the ground-truth star in Label Studio."""
    said = read_body(Said).said()
    return answer.approve(_window(), item, said)


@blueprint.post("/<int:item>/reject")
def reject(item: int) -> dict[str, Any]:
    """Reject the newest label."""
    said = read_body(Said).said()
    return answer.reject(_window(), item, said)


@blueprint.post("/<int:item>/skip")
def skip(item: int) -> dict[str, Any]:
    """Say that nobody can label it: a cancelled annotation in Label Studio."""
    said = read_body(Skip).said()
    return answer.skip(_window(), item, said)


@blueprint.post("/<int:item>/flag")
def flag(item: int) -> dict[str, Any]:
    """Ask for a look before all others."""
    said = read_body(Said).said()
    return answer.flag(_window(), item, said)


def _window() -> Window:
    return open_window(state().database, state().settings, state().label_studio)
