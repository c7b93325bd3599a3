"""Pages of the queue and of what was inspected, on both databases: each row once, in order, whatever the page's size."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from console import inspections as module
from console.inspections import Place, Wanted, inspections, read_cursor
from labelwheel.database import Database
from labelwheel.database.tables import Capture, Deployment, ModelVersion, Prediction, Project, QueueItem
from labelwheel.errors import InputError
from labelwheel.settings import Settings
from sync import queue
from tests.fixtures import wheel

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return wheel.settings_for(tmp_path)


@pytest.fixture
def project(either_database: Database, settings: Settings) -> Project:
    """A day's work; the champion saw one box on each capture, more or less surely, and another model looked too."""
    project = wheel.connect(either_database, settings)
    wheel.fill(either_database, project.id, NOON)
    with either_database.write() as session:
        old, new = session.scalars(select(ModelVersion.id).order_by(ModelVersion.id))
        guest = ModelVersion(
            project_id=project.id, name="grade", version=1, onnx_uri="g", onnx_sha256="0" * 64, weights_uri="", class_map_id=1, labels=["A"]
        )  # fmt: skip
        session.add(guest)
        session.flush()
        session.add(Deployment(project_id=project.id, tag="grade", role="champion", model_version_id=guest.id, served_as="grade@1"))
        for number, capture in enumerate(session.scalars(select(Capture).order_by(Capture.id))):
            if number < 100:
                session.add(look(capture.image_id, old, 0.55))
                session.add(look(capture.image_id, new, number / 100))
                session.add(look(capture.image_id, guest.id, 0.99))
    return project


def look(image_id: int, model_version_id: int, confidence: float) -> Prediction:
    found = [{"label": "dent", "box": [0, 0, 9, 9], "confidence": confidence}]
    return Prediction(image_id=image_id, model_version_id=model_version_id, detections=found, count=1, top_confidence=confidence)


def everything(database: Database, project: Project, settings: Settings, **wanted: Any) -> list[dict[str, Any]]:
    """All pages, one after the other."""
    found: list[dict[str, Any]] = []
    after = None
    for _ in range(1000):
        with database.read() as session:
            page = inspections(session, project, settings, Wanted(**wanted, after=after))
        assert len(page["items"]) <= wanted.get("limit", 50)
        found += page["items"]
        after = page["next"]
        if after is None:
            return found
    raise AssertionError("pages without an end")


def test_pages_hold_every_capture_once_and_say_what_was_seen(
    either_database: Database, project: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for portion, most in ((500, 5000), (9, 5000), (9, 20)):
        monkeypatch.setattr(module, "PORTION", portion)
        monkeypatch.setattr(module, "MOST", most)
        for limit in (1, 8, 500):
            found = everything(either_database, project, settings, uncertain=True, limit=limit)
            assert sorted(row["detections"][0]["confidence"] for row in found) == [number / 100 for number in range(40, 71)]
            assert {row["model_version"] for row in found} == {"labelwheel@2"}
            assert all(row["uncertainty"]["in_band"] == 1 for row in found)

    rows = {row["external_id"]: row for row in everything(either_database, project, settings)}
    assert rows["c-0"]["queue"] == {"id": 1, "status": "pending", "reason": "low_confidence"}
    assert (rows["c-119"]["queue"], rows["c-119"]["detections"], rows["c-119"]["uncertainty"]) == (None, None, None)
    assert (rows["c-5"]["detections"], rows["c-5"]["uncertainty"]["in_band"]) == ([], 0), "seen, and too unsure to be shown"

    since, until = NOON - timedelta(minutes=60), NOON - timedelta(minutes=30)
    found = everything(either_database, project, settings, source="line-b", since=since, until=until, limit=4)
    assert ({row["source"] for row in found}, len(found)) == ({"line-b"}, 10)
    assert all(since <= datetime.fromisoformat(row["captured_at"]) < until for row in found)

    with either_database.write() as session:  # a camera's clock stood still: equal times are no reason to lose one
        session.execute(update(Capture).where(Capture.id <= 30).values(captured_at=NOON))
    for limit in (1, 7, 120, 500):
        found = everything(either_database, project, settings, limit=limit)
        assert len(found) == len({row["id"] for row in found}) == wheel.CAPTURES
        keys = [(row["captured_at"], row["id"]) for row in found]
        assert keys == sorted(keys, reverse=True)


def test_pages_hold_every_item_once_the_most_urgent_first(either_database: Database, project: Project) -> None:
    with either_database.write() as session:
        session.execute(update(QueueItem).where(QueueItem.id <= 20).values(priority=1 / 3))
    total = sum(len(statuses) for statuses in wheel.QUEUE.values())
    for limit in (1, 7, 200):
        found: list[dict[str, Any]] = []
        with either_database.read() as session:
            while rows := queue.listing(session, project.id, limit, "all", after=queue.cursor_of(found[-1]) if found else None):
                found += rows
        assert len(found) == len({row["id"] for row in found}) == total
        assert [(-row["priority"], row["id"]) for row in found] == sorted((-row["priority"], row["id"]) for row in found)
    with either_database.read() as session:
        only = queue.listing(session, project.id, 500, status="pushed", reason="drift", source="line-a")
    assert {(row["status"], row["reason"], row["source"]) for row in only} == {("pushed", "drift", "line-a")}


FAR = f"{NOON.isoformat()}_{2**40}"


@pytest.mark.parametrize("cursor", ["", "x", "_", "2026-11-27T12:00:00_1", "2026-11-27T12:00:00+00:00_x", f"{NOON.isoformat()}_-1", FAR])
def test_what_no_page_gave_is_refused(cursor: str) -> None:
    with pytest.raises(InputError, match="no cursor"):
        read_cursor(cursor)
    with pytest.raises(InputError, match="no cursor"):
        queue.read_cursor(cursor)


def test_a_cursor_leads_back() -> None:
    assert read_cursor(Place(NOON, 7, 1).cursor) == (NOON, 7)
    assert queue.read_cursor(queue.cursor_of({"priority": 0.1 + 0.2, "id": 7})) == (0.1 + 0.2, 7)
