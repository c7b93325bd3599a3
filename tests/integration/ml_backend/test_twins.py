"""Pictures of one still scene share a split, whatever the lot says of each; on both engines."""

from __future__ import annotations

from io import BytesIO

from sqlalchemy import select, update

from labelwheel.database.tables import Capture
from tests.fixtures.line import TOKEN, Line, still


def arrive(line: Line, name: str, data: bytes, at: str = "06:00:00", source: str = "line-a") -> str:
    moment = at if "T" in at else f"2026-11-23T{at}+00:00"
    fields = {"source": source, "external_id": name, "captured_at": moment, "image": (BytesIO(data), "image.png")}
    answer = line.client.post("/inspect", data=fields, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 201, answer.get_json()
    return split(line, name)


def split(line: Line, name: str, becomes: str | None = None) -> str:
    with line.database.write() as session:
        if becomes:
            session.execute(update(Capture).where(Capture.external_id == name).values(split=becomes))
        return session.scalars(select(Capture.split).where(Capture.external_id == name)).one()


def test_twins_inherit_and_a_bridge_is_quarantined(either_line: Line) -> None:
    line = either_line  # it audits nothing: each lot is "train"
    assert arrive(line, "first", still(1, 0)) == "train"
    split(line, "first", becomes="holdout")
    assert arrive(line, "again", still(1, 1), at="06:00:50") == "holdout"
    assert arrive(line, "other scene", still(2, 0), at="06:00:51") == "train"
    assert arrive(line, "other line", still(1, 2), at="06:00:52", source="line-b") == "train"
    assert arrive(line, "much later", still(1, 3), at="06:05:00") == "train"
    split(line, "again", becomes="train")
    assert arrive(line, "bridge", still(1, 4), at="06:00:20") == "quarantined"
    line.settings.twin_seconds = 0
    assert arrive(line, "off", still(1, 5), at="06:00:20") == "train"


def test_a_clock_that_was_never_set_is_no_fault(either_line: Line) -> None:
    """.NET's first moment, and the last one of the calendar: the window around them ends with it."""
    for at in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        assert arrive(either_line, f"first {at}", still(1, 0), at=at) == "train"
        split(either_line, f"first {at}", becomes="holdout")
        assert arrive(either_line, f"again {at}", still(1, 1), at=at) == "holdout"
