"""What goes to Label Studio: the same each time for the same rows, and keyed by content."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from labelwheel.database.tables import Capture, Image, QueueItem
from labelwheel.image_url import uri_of_url
from labelwheel.settings import Settings
from labelwheel.vision.label_config import parse
from sync.exchange.task import KEY, task_key, task_payload
from tests.fixtures.label_studio import LABEL_CONFIG

TAG = parse(LABEL_CONFIG)[0]
LOCAL = Settings(home=Path("/nowhere"))
SIGNED = Settings(home=Path("/nowhere"), image_urls="signed", secret_key="key")


def item(sha256: str = "ab" * 32, **changes: Any) -> QueueItem:
    image = Image(sha256=sha256, width=100, height=80, uri=f"{sha256[:2]}/{sha256}.jpg")
    capture = Capture(external_id="c-1", source="line-a", captured_at=datetime(2026, 11, 23, 6, tzinfo=UTC))
    return QueueItem(**{"image": image, "capture": capture, "round": 1, "reason": "audit", "priority": 1.0, **changes})


def test_a_key_tells_images_and_rounds_apart_and_nothing_else() -> None:
    keys = [task_key(item()), task_key(item(priority=0.1, reason="drift")), task_key(item(round=2)), task_key(item("cd" * 32))]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_task_tells_a_person_what_it_is_and_why() -> None:
    payload = task_payload(item(), TAG, LOCAL, None)
    assert payload["data"] == {
        "image": f"/data/local-files/?d=images/{item().image.uri}", KEY: task_key(item()), "external_id": "c-1", "source": "line-a",
        "captured_at": "2026-11-23T06:00:00+00:00", "reason": "audit", "priority": 1.0,
    }  # fmt: skip
    assert payload["meta"] == {KEY: task_key(item())}
    assert payload["predictions"] == []


def test_a_doubt_is_told_in_words_where_there_are_any() -> None:
    told = [task_payload(item(reason="label_error", scores=scores), TAG, LOCAL, None) for scores in ({"why": "no box at 3, 4"}, {})]
    assert [payload["data"]["reason"] for payload in told] == ["label_error: no box at 3, 4", "label_error"]


@pytest.mark.parametrize("settings", [LOCAL, SIGNED])
def test_its_image_leads_back_to_ours(settings: Settings) -> None:
    assert uri_of_url(task_payload(item(), TAG, settings, None)["data"]["image"], settings) == item().image.uri


def test_the_same_rows_make_the_same_task() -> None:
    made = [json.dumps(task_payload(item(), TAG, LOCAL, {"model_version": "m@1", "score": 0.6, "result": []})) for _ in range(2)]
    assert made[0] == made[1]
