"""A batch that takes too long: what is stored is answered, the rest comes in the background, once, into a real Label Studio."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from labelwheel.database.tables import Image, utcnow
from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio.client import LabelStudio, Project
from labelwheel.schedule import due_work
from ml_backend import later
from ml_backend.app import create_app
from ml_backend.model import DetectorModel
from ml_backend.state import State
from tests.fixtures.database import add_project
from tests.fixtures.line import BASIC_PASSWORD, LS_PROJECT, Line

BASIC = {"Authorization": "Basic " + base64.b64encode(f"label-studio:{BASIC_PASSWORD}".encode()).decode()}
AT_ONCE = 1e-9  # seconds: too few for anything but what is stored


def tasks(line: Line, count: int, first: int = 1) -> list[dict[str, Any]]:
    """Tasks of images that came through the door."""
    for seed in range(first, first + count):
        assert line.inspect(seed).status_code in (200, 201)
    with line.database.read() as session:
        uris = list(session.scalars(select(Image.uri).order_by(Image.id)))
    return [line.task(number, uri) for number, uri in enumerate(uris[first - 1 : first - 1 + count], start=first)]


def ask(line: Line, batch: list[dict[str, Any]], seconds: float) -> list[list[dict[str, Any]]]:
    """`/predict` as Label Studio calls it."""
    client = create_app(line.settings.model_copy(update={"predict_seconds": seconds})).test_client()
    answer = client.post("/predict", json={"tasks": batch, "project": f"{LS_PROJECT}.1"}, headers=BASIC)
    assert answer.status_code == 200
    return list(answer.json["results"])


def progress(line: Line) -> later.Progress:
    with line.database.read() as session:
        return later.progress(session, line.project.id, utcnow())


def test_what_is_stored_is_answered_and_the_rest_is_noted(line: Line) -> None:
    batch = tasks(line, 6)  # nothing is deployed: nothing is stored
    line.deploy(0.9)
    assert all(ask(line, batch[:2], 60))
    answers = ask(line, batch, AT_ONCE)
    assert [bool(entry) for entry in answers] == [True, True, False, False, False, False]
    assert (progress(line).waiting, dict(progress(line).ended)) == (4, {})
    with line.database.read() as session:
        assert ("ml_backend.predict_later", None) in list(due_work(session, line.settings, utcnow()))


def test_what_the_background_has_in_hand_is_left_to_it_unless_it_is_opened_alone(line: Line) -> None:
    batch = tasks(line, 3)
    line.deploy(0.9)
    ask(line, batch, AT_ONCE)
    assert ask(line, batch, 60) == [[], [], []]
    assert all(ask(line, batch[:1], 60))
    assert progress(line).waiting == 3


@pytest.mark.parametrize(("minutes", "left"), [(1, True), (3, False)])
def test_what_was_just_stored_is_left_alone_for_a_while(line: Line, minutes: int, left: bool) -> None:
    later.note(line.database, line.project.id, [1])
    later._end(line.database, line.project.id, {1: "stored"})
    with line.database.read() as session:
        assert bool(later.under_way(session, line.project.id, [1, 2], utcnow() + timedelta(minutes=minutes))) is left


def test_asking_again_for_what_ended_asks_anew(line: Line) -> None:
    later.note(line.database, line.project.id, [1, 2])
    later._end(line.database, line.project.id, {1: "bad_image"})
    assert (progress(line).waiting, dict(progress(line).ended)) == (1, {"bad_image": 1})
    later.note(line.database, line.project.id, [1, 2])
    assert (progress(line).waiting, dict(progress(line).ended)) == (2, {})


@pytest.mark.parametrize("task", [{"id": "seven"}, {"id": None}, {"id": True}, {"id": -1}, {"id": 2**40}, {}, {"id": [1]}])
def test_ids_that_are_none_are_answered_and_never_noted(line: Line, task: dict[str, Any]) -> None:
    line.deploy(0.9)
    assert ask(line, [task, {**task, "data": 3}], AT_ONCE) == [[], []]
    assert progress(line).waiting == 0


class Studio:
    """A project of a real Label Studio whose tasks show the line's images, and the worker's side of `predict_later`."""

    def __init__(self, line: Line, client: LabelStudio, project: Project) -> None:
        self.line, self.client, self.project = line, client, project
        line.project.ls_project_id = project.id
        self.model = DetectorModel(State(line.settings, line.database, line.store), line.project, project.label_config)

    def fill(self, count: int) -> list[int]:
        data = [{"data": task["data"]} for task in tasks(self.line, count)]
        return self.client.import_tasks(self.project.id, data)

    def work(self) -> int:
        return later.work_off(self.line.database, self.client, self.line.project, self.model)

    def versions(self) -> dict[int, list[str]]:
        """The model versions of each task's predictions, by task."""
        return {task["id"]: [entry["model_version"] for entry in task["predictions"]] for task in self.client.open_tasks(self.project.id)}


@pytest.fixture
def studio(line: Line, label_studio: LabelStudio, project: Project) -> Iterator[Studio]:
    yield Studio(line, label_studio, project)


def test_what_is_noted_arrives_once(studio: Studio) -> None:
    ids = studio.fill(later.CHUNK + 5)
    studio.line.deploy(0.9)
    later.note(studio.line.database, studio.line.project.id, [*ids, max(ids) + 1000])
    assert studio.work() == len(ids)
    assert studio.versions() == {task_id: ["labelwheel@1"] for task_id in ids}
    assert dict(progress(studio.line).ended) == {"stored": len(ids), "gone": 1}
    later.note(studio.line.database, studio.line.project.id, ids)
    studio.work()
    assert studio.versions() == {task_id: ["labelwheel@1"] for task_id in ids}


def test_a_crash_after_the_import_doubles_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = studio.fill(3)
    studio.line.deploy(0.9)
    later.note(studio.line.database, studio.line.project.id, ids)
    with monkeypatch.context() as crash:
        crash.setattr(later, "_end", killed)
        with pytest.raises(RuntimeError):
            studio.work()
    assert progress(studio.line).waiting == 3
    studio.work()
    assert studio.versions() == {task_id: ["labelwheel@1"] for task_id in ids}


def test_a_prediction_that_label_studio_drops_ends_alone(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Label Studio says how many it took, not which: the others are looked for."""
    ids = studio.fill(3)
    studio.line.deploy(0.9)
    later.note(studio.line.database, studio.line.project.id, ids)
    send = studio.client.import_predictions

    def spoilt(project_id: int, predictions: list[dict[str, Any]]) -> int:
        for entry in predictions[1]["result"]:
            entry["from_name"] = "nobody"
        return send(project_id, predictions)

    monkeypatch.setattr(studio.client, "import_predictions", spoilt)
    assert studio.work() == 2
    assert Counter(map(len, studio.versions().values())) == {1: 2, 0: 1}
    assert dict(progress(studio.line).ended) == {"stored": 2, "refused": 1}


def test_an_image_that_is_none_never_stops_the_others(studio: Studio) -> None:
    ids = studio.fill(2)
    lost = studio.client.import_tasks(studio.project.id, [{"data": {"image": "data:image/png;base64,AAAA"}}])
    studio.line.deploy(0.9)
    later.note(studio.line.database, studio.line.project.id, lost + ids)
    assert studio.work() == 2
    assert dict(progress(studio.line).ended) == {"stored": 2, "bad_image": 1}


def test_an_absent_label_studio_leaves_everything_noted(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    later.note(studio.line.database, studio.line.project.id, [1])
    away = LabelStudio("http://127.0.0.1:9", "token")
    with pytest.raises(LabelStudioError):
        later.work_off(studio.line.database, away, studio.line.project, studio.model)
    assert progress(studio.line).waiting == 1


def killed(*_: Any) -> None:
    raise RuntimeError("killed")


def test_a_project_that_was_deleted_there_holds_up_no_other(studio: Studio) -> None:
    ids = studio.fill(1)
    studio.line.deploy(0.9)
    former = add_project(studio.line.database, studio.project.id + 1000)
    for project_id in (former.id, studio.line.project.id):
        later.note(studio.line.database, project_id, ids)
    served = [(former, studio.model), (studio.line.project, studio.model)]
    assert later.work_off_each(studio.line.database, studio.client, served) == 1
    with studio.line.database.read() as session:
        assert dict(later.progress(session, former.id, utcnow()).ended) == {"gone": 1}
    assert dict(progress(studio.line).ended) == {"stored": 1}
