"""Refresh, against the in-memory Label Studio: what it leaves, what it removes, whom it moves, and how it stops half-way."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from labelwheel.database.tables import Deployment, Image, Project, QueueItem, utcnow
from labelwheel.errors import PredictionsDropped
from labelwheel.labelstudio.twin_server import TwinServer
from labelwheel.settings import Settings
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.refresh import refresh
from sync.review.answer import FLAGGED_PRIORITY, flag
from sync.review.said import Said
from sync.review.settle import open_round
from sync.review.window import open_window
from sync.selection.select import select_captures
from tests.fixtures.line import Line
from tests.fixtures.plant import Plant
from tests.fixtures.studio import Counterpart, twin_counterpart
from tests.fixtures.tasks import drawn


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


@pytest.mark.parametrize("rule", ["keep", "remove"])
def test_a_second_look_at_an_odd_label_keeps_no_other_from_its_boxes(line: Line, rule: str) -> None:
    """What the API makes Label Studio stores as it is, and what it imports as predictions must fit."""
    plant = Plant(line, TwinServer())
    plant.line.deploy(0.5)
    plant.set(old_predictions=rule)
    odd, other = plant.pushed(1, 2)
    [image] = {plant.image(odd)}
    good, bare, wide, strange, note = (drawn(x) for x in (10, 20, 30, 40, 50))
    del bare["value"]["rectanglelabels"]
    wide["value"]["width"] = 120
    strange["from_name"] = "gone"
    plant.server.annotate(odd, [good, bare, wide, strange, "junk", note | {"value": {"rectanglelabels": [["open"]]}}])  # type: ignore[list-item]
    plant.pull()
    assert plant.in_force() == {image: [9.6, 28.8]}
    with line.database.write() as session:
        item = session.scalars(select(QueueItem).where(QueueItem.image_id == image)).one()
        assert open_round(session, item, "label_error", 0.9, "label check", "a doubt", {"why": "a doubt"})
    assert plant.push() == 1
    second = line.deploy(0.9)
    refresh(line.database, plant.line.settings, plant.client, second.id)
    with line.database.read() as session:
        assert session.get_one(Deployment, second.id).refreshed_at is not None
    assert plant.client.project(line.project.ls_project_id).model_version == "labelwheel@2"
    shown = {task["id"]: task["predictions"][-1] for task in plant.client.open_tasks(line.project.ls_project_id)}
    assert shown[other]["model_version"] == "labelwheel@2"
    [look] = shown.keys() - {other}
    assert (shown[look]["model_version"], [region["id"] for region in shown[look]["result"]]) == ("labelwheel@2", [good["id"], wide["id"]])
    assert [region["value"]["width"] for region in shown[look]["result"]] == [30, 70], (
        "what is too large ends at the edge, as its label does"
    )


def test_what_label_studio_drops_all_the_same_keeps_no_other_from_its_boxes(
    either_line: Line, studio: Counterpart, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed(either_line, studio, 3)
    second = either_line.deploy(0.6)
    strict = [3]
    taken: Any = studio.client.import_predictions

    def dropping(project_id: int, made: list[dict[str, Any]]) -> int:
        raise PredictionsDropped.of(taken(project_id, made[strict[0] :]), len(made))

    monkeypatch.setattr(studio.client, "import_predictions", dropping)
    with pytest.raises(PredictionsDropped, match="stored 0 of 3"):
        again(either_line, studio, second)
    strict[0] = 1
    assert again(either_line, studio, second) == 3
    assert sorted(versions(studio)) == [["labelwheel@1"], ["labelwheel@1", "labelwheel@2"], ["labelwheel@1", "labelwheel@2"]]


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
