"""`GET /api/door`: whether cameras may send, and what is stored."""

from __future__ import annotations

from typing import Any

from flask import Blueprint
from sqlalchemy import func, select

from console.state import state
from labelwheel.database.tables import Capture, Image
from ml_backend.pressure import excess, measure

blueprint = Blueprint("door", __name__, url_prefix="/api")


@blueprint.get("/door")
def show() -> dict[str, Any]:
    """`open`, and if not why; load and bounds (bytes, items; a bound of 0 is none); images stored and expired."""
    settings = state().settings
    with state().project() as (session, _):
        load = measure(session, settings)
        arrived = select(func.count(), func.count(Image.expired_at)).where(Image.id.in_(select(Capture.image_id)))
        images = session.execute(arrived).one()
    refusal = excess(load, settings)
    return {
        "open": refusal is None,
        "refusal": refusal.as_dict()["error"] if refusal else None,
        "free_bytes": load.free_bytes,
        "min_free_bytes": settings.min_free_bytes,
        "store_bytes": load.store_bytes,
        "store_max_bytes": settings.store_max_bytes,
        "pending": load.pending,
        "pending_max": settings.pending_max,
        "images": images[0] - images[1],
        "expired_images": images[1],
    }
