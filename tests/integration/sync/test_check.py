"""The label check on both databases: who is looked at, by whom, and what comes of it; twice is as good as once."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from labelwheel.database.tables import (
    Capture,
    Dataset,
    DatasetItem,
    Deployment,
    Image,
    LabelCheck,
    ModelVersion,
    QueueEvent,
    QueueItem,
    TrainingRun,
    utcnow,
)
from labelwheel.serving import load, newest_deployment, predict_stored
from labelwheel.vision.detection import Detection
from labelwheel.vision.label_config import parse, pushed_tag
from sync.doubts.check import check
from sync.doubts.listing import listing
from sync.exchange.desk import Desk
from sync.exchange.pre_annotate import pre_annotate
from sync.exchange.task import task_payload
from tests.fixtures.line import Line
from tests.fixtures.reviewed import annotation, answer, as_round, as_task, label_of, region


def boxes(line: Line, seed: int) -> list[Detection]:
    """What the served model sees in a picture."""
    with line.database.read() as session:
        deployment = newest_deployment(session, line.project.id)
        image = session.scalars(select(Image).join(Capture).where(Capture.external_id == f"c-{seed}")).one()
    assert deployment
    return predict_stored(line.database, load(deployment, line.settings), image, line.store, line.settings)


def labelled(line: Line, seed: int, wrong: bool) -> str:
    """A capture that a person labelled: as the model sees it, or leaving out what it sees; the key of its task."""
    key = as_task(line, seed)
    drawn = [] if wrong else [region(f"R{n}", item.label, item.box.as_tuple()) for n, item in enumerate(boxes(line, seed))]
    answer(line, key, annotation(seed, *drawn))
    return key


def checked(line: Line, **changes: Any) -> int:
    """Of so few labels little can be said: whatever speaks against one is enough here."""
    return check(line.database, line.settings.model_copy(update={"doubt_below": 0.99, **changes}), utcnow())


def looks(line: Line) -> list[QueueItem]:
    with line.database.read() as session:
        return list(session.scalars(select(QueueItem).where(QueueItem.reason == "label_error").order_by(QueueItem.id)))


def checks(line: Line) -> dict[int, bool]:
    with line.database.read() as session:
        return dict(session.execute(select(LabelCheck.label_id, LabelCheck.flagged)).tuples().all())


def test_a_doubtful_label_gets_one_second_look_and_the_answer_stands(either_line: Line) -> None:
    line = either_line
    labelled(line, 1, wrong=True)
    assert (checked(line), checks(line)) == (0, {}), "there is no model"
    line.deploy(0.95)
    good, bad = labelled(line, 3, wrong=False), labelled(line, 4, wrong=True)
    asked = checked(line)
    found = checks(line)
    assert found[label_of(line, good).id] is False and found[label_of(line, bad).id] is True
    assert asked == len(looks(line)) == sum(found.values())
    (look,) = [item for item in looks(line) if item.scores["label"] == label_of(line, bad).id]
    assert (look.round, look.status, look.priority) == (2, "pending", pytest.approx(1 - look.scores["score"], abs=1e-4))
    assert look.scores["why"].startswith("the model sees open (0.95) at ")
    assert checked(line) == 0 and len(looks(line)) == asked, "again changes nothing"
    with line.database.read() as session:
        (event,) = session.scalars(select(QueueEvent).where(QueueEvent.queue_item_id == look.id))
        rows = {row["label"]: row for row in listing(session, line.project.id)}
    assert (event.who, event.why) == ("label check", look.scores["why"])
    mine = rows[label_of(line, bad).id]
    assert (mine["second_look"], mine["why"], mine["annotator"]) == ("pending", look.scores["why"], "anna@plant.example")

    answer(line, as_round(line, look.id), annotation(99, minutes=60))  # a person confirms: nothing there
    line.deploy(0.95)
    checked(line)
    assert len(looks(line)) == asked, "what a person confirmed is not doubted again"
    assert label_of(line, bad).annotated_at > label_of(line, good).annotated_at


def test_the_day_has_its_number_and_the_most_doubtful_come_first(either_line: Line) -> None:
    line = either_line
    line.deploy(0.95)
    weak = labelled(line, 1, wrong=True)
    assert checked(line, second_looks_per_day=0) == 0 and checks(line)[label_of(line, weak).id] is True
    keys = [labelled(line, seed, wrong=True) for seed in (2, 3)]
    assert checked(line, second_looks_per_day=2) == 2
    assert checked(line, second_looks_per_day=2) == 0
    assert checked(line, second_looks_per_day=3) == 1
    assert {item.scores["label"] for item in looks(line)} == {label_of(line, key).id for key in [weak, *keys]}


def test_a_model_judges_no_label_of_an_image_that_it_was_trained_on(either_line: Line) -> None:
    line = either_line
    deployment = line.deploy(0.95)
    known, new = labelled(line, 1, wrong=True), labelled(line, 2, wrong=True)
    _trained_on(line, deployment, label_of(line, known).image_id, label_of(line, known).id)
    assert checked(line) == 1
    assert set(checks(line)) == {label_of(line, new).id}
    successor = line.deploy(0.95)
    _trained_on(line, successor, label_of(line, new).image_id, label_of(line, new).id, after=deployment.model_version_id)
    checked(line)
    assert set(checks(line)) == {label_of(line, new).id}, "its weights come from those that were"


def test_the_second_look_shows_the_label_as_it_was_drawn(either_line: Line) -> None:
    line = either_line
    line.deploy(0.95)
    key = as_task(line, 1)
    drawn = region("mine", "short", (50, 2, 70, 12), origin="manual", score=0.3)
    answer(line, key, annotation(1, drawn))
    assert checked(line) == 1
    tags = parse(line.project.label_config)
    with line.database.read() as session:
        item = session.scalars(select(QueueItem).where(QueueItem.reason == "label_error")).one()
        assert item.image and item.capture
    desk = Desk(line.database, line.settings, None, line.project, tags, _LineUp("labelwheel@1"))  # type: ignore[arg-type]
    shown = pre_annotate(desk, [item])[item.id]
    assert shown == {"model_version": "labelwheel@1", "result": [{n: v for n, v in drawn.items() if n not in ("origin", "score")}]}
    task = task_payload(item, pushed_tag(tags), line.settings, shown)
    assert task["data"]["reason"] == f"label_error: {item.scores['why']}"


class _LineUp:
    models: dict[Any, Any] = {}

    def __init__(self, served_as: str) -> None:
        self.served_as = served_as


def _trained_on(line: Line, deployment: Deployment, image_id: int, label_id: int, after: int | None = None) -> None:
    with line.database.write() as session:
        model = session.get_one(ModelVersion, deployment.model_version_id)
        dataset = Dataset(
            project_id=line.project.id, content_hash=f"{model.version:064}", path="d", class_map_id=model.class_map_id, counts={}
        )
        session.add(dataset)
        session.flush()
        session.add(DatasetItem(dataset_id=dataset.id, image_id=image_id, label_id=label_id, split="train"))
        start = {"model_version": after} if after else {}
        run = TrainingRun(project_id=line.project.id, status="promoted", cause="manual", dataset_id=dataset.id, metrics={"start": start})
        session.add(run)
        session.flush()
        model.training_run_id = run.id
