"""Refresh, against the in-memory Label Studio: what it leaves, what it removes, whom it moves, and how it stops half-way."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from labelwheel.database.tables import Deployment, Image, Project, QueueItem, utcnow
from labelwheel.settings import Settings
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.refresh import refresh
from sync.review.answer import FLAGGED_PRIORITY, Said, flag, open_window
from sync.selection.select import select_captures
from tests.fixtures.line import Line
from tests.fixtures.studio import Counterpart, twin_counterpart


@pytest.fixture
def studio(either_line: Line) -> Counterpart:
    counterpart = twin_counterpart()
    with either_line.database.write() as session:
        session.execute(update(Project).values(ls_project_id=counterpart.project.id))
    return counterpart


def pushed(line: Line, studio: Counterpart, count: int) -> None:
    line.deploy(0.5)
    for seed in range(count):
        line.inspect(seed)
    assert select_captures(line.database, line.settings, utcnow()) == count
    assert push(line.database, line.settings, studio.client) == count


def versions(studio: Counterpart) -> list[list[str]]:
    return [sorted(entry["model_version"] for entry in task["predictions"]) for task in studio.client.open_tasks(studio.project.id)]


def moments(studio: Counterpart) -> set[str]:
    return {task["updated_at"] for task in studio.client.open_tasks(studio.project.id)}


def again(line: Line, studio: Counterpart, deployment: Deployment, settings: Settings | None = None, seconds: float = 60) -> int:
    return refresh(line.database, settings or line.settings, studio.client, deployment.id, seconds)


@pytest.mark.parametrize(("rule", "left"), [("keep", ["labelwheel@1", "labelwheel@2"]), ("remove", ["labelwheel@2"])])
def test_earlier_predictions_go_or_stay_and_no_task_counts_as_changed(
    either_line: Line, studio: Counterpart, rule: str, left: list[str]
) -> None:
    pushed(either_line, studio, 3)
    before, second = moments(studio), either_line.deploy(0.6)
    settings = either_line.settings.model_copy(update={"old_predictions": rule})
    assert again(either_line, studio, second, settings) == 3
    assert versions(studio) == [left] * 3
    assert moments(studio) == before
    assert studio.client.project(studio.project.id).model_version == "labelwheel@2"


def test_tasks_move_to_where_the_new_models_doubt_puts_them(either_line: Line, studio: Counterpart) -> None:
    """And only there: whom somebody flagged stays before all, and the days in which nobody touched a task go on."""
    pushed(either_line, studio, 4)
    pull(either_line.database, either_line.settings, studio.client)
    with either_line.database.read() as session:
        *_, audited, flagged = session.scalars(select(QueueItem.id).order_by(QueueItem.id))
    flag(open_window(either_line.database, either_line.settings, studio.client), flagged, Said("boss@plant.example"))
    long_ago = utcnow() - timedelta(days=29)
    with either_line.database.write() as session:
        session.execute(update(QueueItem).where(QueueItem.id == audited).values(reason="audit", priority=1.0))
        session.execute(update(QueueItem).values(updated_at=long_ago))
    again(either_line, studio, either_line.deploy(0.99))
    with either_line.database.read() as session:
        *low, audit, urgent = session.execute(select(QueueItem.priority, QueueItem.updated_at).order_by(QueueItem.id)).tuples().all()
    there = sorted(task["data"]["priority"] for task in studio.client.open_tasks(studio.project.id))
    assert (audit, urgent) == ((1.0, long_ago), (FLAGGED_PRIORITY, long_ago))
    assert len({place for place, _ in low}) == 1 and low[0][0] <= 0.1
    assert {moment for _, moment in low} == {long_ago}
    assert (there[:2], there[-1]) == ([low[0][0]] * 2, FLAGGED_PRIORITY)


def test_an_image_that_is_lost_keeps_no_other_from_its_boxes(either_line: Line, studio: Counterpart) -> None:
    pushed(either_line, studio, 3)
    with either_line.database.read() as session:
        lost = session.scalars(select(Image.uri)).first()
    either_line.store.path(str(lost)).unlink()
    second = either_line.deploy(0.6)
    again(either_line, studio, second)
    assert sorted(versions(studio)) == [["labelwheel@1"], ["labelwheel@1", "labelwheel@2"], ["labelwheel@1", "labelwheel@2"]]
    with either_line.database.read() as session:
        assert session.get_one(Deployment, second.id).refreshed_at is not None


def test_one_whose_time_is_over_goes_on_where_it_was(either_line: Line, studio: Counterpart, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(either_line, studio, 3)
    second = either_line.deploy(0.6)
    monkeypatch.setattr("sync.exchange.refresh.CHUNK", 2)
    assert again(either_line, studio, second, seconds=0) == 0
    with either_line.database.read() as session:
        assert session.get_one(Deployment, second.id).refreshed_at is None
    assert studio.client.project(studio.project.id).model_version == "labelwheel@1"
    assert again(either_line, studio, second) == 3
    assert again(either_line, studio, second) == 0
