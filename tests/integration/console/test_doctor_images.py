"""What doctor says of the door and the images: a closed door, a lost image, and nothing of an expired one."""

from __future__ import annotations

from datetime import timedelta

import requests

from console.doctor import examine
from labelwheel.database.tables import utcnow
from ml_backend.retention import retain
from tests.fixtures.doors import open_door
from tests.fixtures.line import BASIC_PASSWORD, LS_PROJECT, Line


def codes(line: Line, **changes: object) -> set[str]:
    """Faults beside Label Studio, which nobody connected here."""
    return {fault.code for fault in examine(line.settings.model_copy(update={"label_studio_project": "Another", **changes}))}


def test_a_closed_door_is_named(line: Line) -> None:
    assert "disk_full" in codes(line, min_free_bytes=2**60)
    assert "disk_full" not in codes(line)


def test_a_lost_image_is_a_fault_and_an_expired_one_is_not(line: Line) -> None:
    line.inspect(1)
    line.inspect(2)
    assert "images_lost" not in codes(line)
    retain(line.database, line.settings.model_copy(update={"retention_days": 1}), utcnow() + timedelta(days=2))
    assert "images_lost" not in codes(line)
    line.inspect(3)
    for path in line.store.root.rglob("*.png"):
        path.unlink()
    assert "images_lost" in codes(line)


def test_tasks_that_could_not_be_predicted_are_told_by_their_reasons(line: Line) -> None:
    line.deploy(0.9)
    with open_door(line.app) as door:
        found = {fault.code: fault for fault in examine(line.settings.model_copy(update={"ml_backend_url": door.url}))}
        assert "tasks_unanswered" not in found
        body = {"tasks": [{"id": 1, "data": {"image": "data:image/png;base64,AAAA"}}], "project": f"{LS_PROJECT}.1"}
        login = ("label-studio", BASIC_PASSWORD)
        assert requests.post(f"{door.url}/predict", json=body, auth=login, timeout=30).json() == {"results": [[]]}
        found = {fault.code: fault for fault in examine(line.settings.model_copy(update={"ml_backend_url": door.url}))}
    assert "bad_image 1" in found["tasks_unanswered"].message
    assert not found["tasks_unanswered"].broken
