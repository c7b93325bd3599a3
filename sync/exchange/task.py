"""What we send to Label Studio for a queue item: pure, and the same each time for the same rows."""

from __future__ import annotations

from typing import Any

from labelwheel.database.tables import QueueItem
from labelwheel.image_url import image_url
from labelwheel.labelstudio.client import KEY
from labelwheel.settings import Settings
from labelwheel.vision.label_config import ControlTag


def task_key(item: QueueItem) -> str:
    """Our key of the task: from the image's content and the round, so that making it twice makes the same."""
    return f"{item.image.sha256[:32]}-r{item.round}"


def task_payload(item: QueueItem, tag: ControlTag, settings: Settings, prediction: dict[str, Any] | None) -> dict[str, Any]:
    """A task for Label Studio's import, with its pre-annotation if there is one."""
    key = task_key(item)
    data = {
        tag.value_key: image_url(item.image.uri, settings),
        KEY: key,
        "external_id": item.capture.external_id,
        "source": item.capture.source,
        "captured_at": item.capture.captured_at.isoformat(),
        "reason": _reason(item),
        "priority": item.priority,
    }
    return {"data": data, "meta": {KEY: key}, "predictions": [prediction] if prediction else []}


def _reason(item: QueueItem) -> str:
    """Why a person is asked; of a doubted label also what is doubted and where."""
    why = item.scores.get("why") if item.reason == "label_error" else None
    return f"{item.reason}: {why}" if why else item.reason
