"""What doctor says of the door and the images: a closed door, a lost image, and nothing of an expired one."""

from __future__ import annotations

from datetime import timedelta

from console.doctor import examine
from labelwheel.database.tables import utcnow
from ml_backend.retention import retain
from tests.fixtures.line import Line


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
