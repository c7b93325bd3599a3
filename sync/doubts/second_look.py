"""What a person is shown who looks at a doubtful label once more: the annotation itself, as it was drawn, as far as it fits."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import AnnotationRevision, Image, Label
from labelwheel.vision.fit import fitting
from labelwheel.vision.label_config import ControlTag

PLACE = ("x", "y", "width", "height")
FULL = 100  # percent


def drawn_again(
    session: Session, image_id: int, served_as: str, tags: Sequence[ControlTag], names: Collection[str] = ()
) -> dict[str, Any] | None:
    """The annotation of the image's label in force, as a prediction; None when there is no such label any more.

    What the label config's `tags` do not take is left out, and what is of none of its `names`: Label Studio would drop all of it.
    It bears the version that Label Studio shows: under another one the label stream would start empty, and the ML backend be asked.
    """
    query = select(AnnotationRevision.body).join(Label, Label.annotation_revision_id == AnnotationRevision.id)
    project_id = select(Image.project_id).where(Image.id == image_id).scalar_subquery()
    query = query.where(Label.project_id == project_id, Label.image_id == image_id, Label.approved_at.is_not(None))
    query = query.where(Label.superseded_by.is_(None), Label.withdrawn_at.is_(None))
    body = session.scalar(query.order_by(Label.approved_at.desc(), Label.id.desc()).limit(1))
    if body is None:
        return None
    drawn = [_as_predicted(region) for region in body.get("result") or [] if isinstance(region, dict)]
    return {"model_version": served_as, "result": fitting(drawn, tags, names)}


def _as_predicted(region: dict[str, Any]) -> dict[str, Any]:
    """What is too large ends at the image's edges, as its label does: whoever confirms what is shown shall not lose a box."""
    told = {name: value for name, value in region.items() if name not in ("origin", "score")}
    value = told.get("value")
    if not (isinstance(value, dict) and all(_is_number(value.get(name)) for name in PLACE) and not value.get("rotation")):
        return told
    x, y, width, height = (value[name] for name in PLACE)
    if max(width, height) <= FULL:
        return told
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, FULL), min(y + height, FULL)
    return {**told, "value": {**value, "x": left, "y": top, "width": right - left, "height": bottom - top}}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
