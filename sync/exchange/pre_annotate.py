"""Pre-annotations of many queue items: what is stored is read in one query for each model, the rest is looked at, one image on each core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from labelwheel.database.tables import Image, QueueItem
from labelwheel.errors import PredictionsDropped
from labelwheel.serving import LineUp, predict_all
from labelwheel.storage import ImageStore
from labelwheel.vision.detection import Detection
from labelwheel.vision.fit import misfits
from labelwheel.vision.label_config import pushed_tag, shown_tags
from labelwheel.vision.pre_annotation import Sight, View, pre_annotation, tags_by_view
from sync.doubts.second_look import drawn_again
from sync.exchange.desk import Desk

log = structlog.get_logger(__name__)

Seen = Mapping[int, list[Detection]]


def pre_annotate(desk: Desk, items: Sequence[QueueItem]) -> dict[int, dict[str, Any]]:
    """Predictions for Label Studio by the ids of the items, which bring their images.

    An item has none without a model, and where an image cannot be looked at: the person can still label it. Of a label that is doubted it
    is the label, as it was drawn.
    """
    if desk.line_up is None:
        return {}
    doubted = _doubted(desk, [item for item in items if item.reason == "label_error"])
    others = [item for item in items if item.id not in doubted]
    seen = _seen(desk, desk.line_up, others)
    whole = [item for item in others if seen and all(item.image_id in one for one in seen.values())]
    return doubted | {item.id: _prediction(desk, item.image, seen) for item in whole}


def why_not(desk: Desk, item: QueueItem, prediction: Mapping[str, Any]) -> str:
    """Why Label Studio would not show a pre-annotation; empty: it will. A doubted label is cut to what fits, and says more than our tags."""
    found = [] if item.reason == "label_error" else misfits(prediction, desk.tags)
    return found[0] if found else ""


def add(desk: Desk, made: Mapping[int, tuple[QueueItem, Mapping[str, Any]]]) -> None:
    """Add pre-annotations that fit to tasks that are there, by their ids in Label Studio.

    What Label Studio drops all the same is left out: one odd prediction keeps no other back. PredictionsDropped when it takes nothing
    of what we vouch for: it fits no more as a whole.
    """
    try:
        desk.client.import_predictions(desk.project.ls_project_id, [{"task": task, **prediction} for task, (_, prediction) in made.items()])
    except PredictionsDropped as error:
        if not error.stored and any(item.reason != "label_error" for item, _ in made.values()):
            raise
        log.warning("pre-annotations left out", stored=error.stored, sent=len(made))


def _doubted(desk: Desk, items: Sequence[QueueItem]) -> dict[int, dict[str, Any]]:
    if not items:
        return {}
    with desk.database.read() as session:
        found = {item.id: drawn_again(session, item.image_id, desk.served_as or "", desk.tags, desk.names) for item in items}
    return {item_id: drawn for item_id, drawn in found.items() if drawn is not None}


def _seen(desk: Desk, line_up: LineUp, items: Sequence[QueueItem]) -> dict[View, Seen]:
    """What each model sees that tags show of our tasks' one image, by the ids of the images."""
    store, ours = ImageStore(desk.settings.images_dir), pushed_tag(desk.tags).value_key
    images = list({item.image_id: item.image for item in items}.values())
    views = [view for view in tags_by_view(shown_tags(desk.tags)) if view[0] == ours and view[1] in line_up.models]
    return {view: predict_all(desk.database, line_up.models[view[1]], images, store, desk.settings) for view in views}


def _prediction(desk: Desk, image: Image, seen: Mapping[View, Seen]) -> dict[str, Any]:
    sights = {view: Sight(found[image.id], image.width, image.height) for view, found in seen.items()}
    return pre_annotation(sights, shown_tags(desk.tags), desk.served_as or "", desk.settings.display_threshold)
