"""Pre-annotations of many queue items: what is stored is read in one query for each model, the rest is looked at, one image on each core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelwheel.database.tables import Image, QueueItem
from labelwheel.serving import LineUp, predict_all
from labelwheel.storage import ImageStore
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import pushed_tag, shown_tags
from labelwheel.vision.pre_annotation import Sight, View, pre_annotation, tags_by_view
from sync.doubts.second_look import drawn_again
from sync.exchange.desk import Desk

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


def _doubted(desk: Desk, items: Sequence[QueueItem]) -> dict[int, dict[str, Any]]:
    if not items:
        return {}
    with desk.database.read() as session:
        found = {item.id: drawn_again(session, item.image_id, desk.served_as or "") for item in items}
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
