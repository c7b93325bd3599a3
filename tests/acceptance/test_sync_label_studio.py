"""The loop against a real Label Studio: select, push, annotate, webhook, pull, refresh, and every way in which it may go wrong."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from redis import Redis
from sqlalchemy import delete, select
from werkzeug.serving import make_server

from console.connect import connect
from console.thresholds import apply as write_thresholds
from labelwheel import queue, schedule
from labelwheel.database import get_database, migrate
from labelwheel.database.tables import Correction, Deployment, Hint, Label, LsTask, Project, QueueEvent, QueueItem, utcnow
from labelwheel.errors import LabelStudioUnreachable
from labelwheel.labelstudio import LabelStudio
from labelwheel.settings import Settings
from ml_backend.app import create_app
from sync.doubts.check import check
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.refresh import refresh
from sync.review.reading import reading_of
from sync.review.rebuild import rebuild
from sync.selection.select import select_captures
from tests.fixtures.label_studio import LABEL_CONFIG, Server, free_port
from tests.fixtures.line import TOKEN, Line, line_settings, picture
from tests.fixtures.studio import USERS


def drawn(x: float = 10, label: str = "open") -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": [label]}
    size = {"original_width": 96, "original_height": 64, "image_rotation": 0}
    return {"id": uuid.uuid4().hex[:8], "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value}


class LostAnswer(LabelStudio):
    """Label Studio commits the tasks, and the answer never arrives."""

    def import_tasks(self, project_id: int, tasks: list[dict[str, Any]]) -> list[int]:
        super().import_tasks(project_id, tasks)
        raise LabelStudioUnreachable("The line was cut.")


class Wheel(Line):
    """The line, turned by hand: each method is one job of the wheel, on the real Label Studio."""

    def __init__(self, settings: Settings, client: LabelStudio, project: Project) -> None:
        super().__init__(settings, get_database(settings.database_url), project, create_app(settings))
        self.studio = client

    def capture(self, seeds: range) -> None:
        for seed in seeds:
            sent = {"source": "line-a", "external_id": f"{self.project.id}-{seed}"}
            files = {"image": ("image.png", picture(seed + 1000 * self.project.ls_project_id))}
            address, headers = f"{self.settings.ml_backend_url}/inspect", {"Authorization": f"Bearer {TOKEN}"}
            requests.post(address, data=sent, files=files, headers=headers, timeout=10).raise_for_status()

    def select(self) -> int:
        return select_captures(self.database, self.settings, utcnow())

    def push(self, client: LabelStudio | None = None) -> int:
        return push(self.database, self.settings, client or self.studio)

    def pull(self) -> int:
        return pull(self.database, self.settings, self.studio)

    def refresh(self, deployment: Deployment) -> int:
        return refresh(self.database, self.settings, self.studio, deployment.id)

    def pushed(self, count: int) -> list[int]:
        """Bring so many captures to Label Studio; their task ids."""
        self.capture(range(count))
        assert (self.select(), self.push()) == (count, count)
        return sorted(self.studio.task_ids(self.project.ls_project_id))

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.studio.changed_tasks(self.project.ls_project_id, None))

    def statuses(self) -> dict[int, str]:
        """Where the item of each task stands, by Label Studio's id of the task."""
        with self.database.read() as session:
            return dict(session.execute(select(LsTask.ls_task_id, QueueItem.status).join(QueueItem)).tuples().all())

    def history(self, ls_task_id: int) -> list[str]:
        """Every status that the task's item had, in order."""
        query = select(QueueEvent.status).join(LsTask, LsTask.queue_item_id == QueueEvent.queue_item_id)
        with self.database.read() as session:
            return list(session.scalars(query.where(LsTask.ls_task_id == ls_task_id).order_by(QueueEvent.id)))

    def labels(self) -> list[dict[str, Any]]:
        """All label rows, told by what they are and not by their ids; oldest first."""
        with self.database.read() as session:
            rows = list(session.scalars(select(Label).order_by(Label.annotated_at, Label.annotation_revision_id)))
        revision = {row.id: row.annotation_revision_id for row in rows}
        names = ("image_id", "annotation_revision_id", "boxes", "exclusions", "annotator", "annotated_at", "approved_at", "withdrawn_at")
        return [{name: getattr(row, name) for name in names} | {"next": revision.get(row.superseded_by or 0)} for row in rows]

    def act(self, method: str, path: str, **body: Any) -> None:
        """A person's act in Label Studio that the client has no word for."""
        transport = self.studio.connection._sdk._client_wrapper.httpx_client
        transport.request(path, method=method, json=body or None).raise_for_status()


@pytest.fixture
def wheel(label_studio_server: Server, label_studio_token: str, bell: Redis, tmp_path: Path) -> Iterator[Wheel]:
    """A wheel connected as `labelwheel connect` does it, with ml_backend running. It shares the folder that Label Studio may read."""
    port = free_port()
    (tmp_path / "label_config.xml").write_text(LABEL_CONFIG)
    settings = line_settings(
        label_studio_server.settings.home, database_url=f"sqlite:///{tmp_path / 'labelwheel.db'}", label_studio_url=label_studio_server.url,
        label_studio_token=label_studio_token, label_studio_project=f"Wheel {uuid.uuid4().hex[:12]}", ml_backend_port=port,
        label_config=tmp_path / "label_config.xml", push_chunk=3,
    )  # fmt: skip
    migrate(settings.database_url)
    with running(settings, port):
        yield Wheel(settings, LabelStudio(settings.label_studio_url, label_studio_token), connect(settings))
    get_database(settings.database_url).dispose()


@contextmanager
def running(settings: Settings, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, create_app(settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hints(wheel: Wheel, handled: bool = False) -> list[str]:
    with wheel.database.read() as session:
        return list(session.scalars(select(Hint.action).where(Hint.handled_at.is_not(None) if handled else Hint.handled_at.is_(None))))


def eventually(found: Callable[[], Any], seconds: float = 5) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := found()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer


def test_a_capture_becomes_a_label(wheel: Wheel, bell: Redis) -> None:
    first, second, skipped, untouched = wheel.pushed(4)
    tasks = {task["id"]: task for task in wheel.tasks()}
    assert {task["data"]["reason"] for task in tasks.values()} == {"novelty"}
    assert wheel.studio.fetch_status(tasks[first]["data"]["image"]) == 200, "the annotator's browser must get the image"

    bell.flushall()
    wheel.studio.create_annotation(first, [drawn(10), drawn(50, "short")])
    assert eventually(lambda: hints(wheel)) == ["ANNOTATION_CREATED"], "one event is one hint: no second webhook was registered"
    assert queue.get_queue("fast").job_ids == [], "the annotator's request waits for no queue"
    schedule.turn(wheel.database, wheel.settings, utcnow())
    assert "sync-pull" in queue.get_queue("fast").job_ids

    wheel.studio.create_annotation(second, [])
    wheel.studio.create_annotation(skipped, [drawn()], was_cancelled=True)
    assert wheel.pull() >= 3
    assert wheel.statuses() == {first: "approved", second: "approved", skipped: "skipped", untouched: "pushed"}
    boxes, background = (label["boxes"] for label in wheel.labels())
    assert [(box["label"], box["box"]) for box in boxes] == [
        ("open", pytest.approx([9.6, 12.8, 38.4, 38.4])),
        ("short", pytest.approx([48, 12.8, 76.8, 38.4])),
    ]
    assert background == []
    assert {label["annotator"] for label in wheel.labels()} == {wheel.studio.me()["email"]}
    assert hints(wheel) == []
    assert len(hints(wheel, handled=True)) == 3
    assert "retrain-consider" in queue.get_queue("fast").job_ids


def test_pulling_again_changes_nothing(wheel: Wheel) -> None:
    task, _ = wheel.pushed(2)
    wheel.studio.create_annotation(task, [drawn()])
    wheel.pull()
    with wheel.database.read() as session:
        before = wheel.labels(), wheel.statuses(), len(list(session.scalars(select(QueueEvent.id))))
    wheel.pull()
    with wheel.database.read() as session:
        assert (wheel.labels(), wheel.statuses(), len(list(session.scalars(select(QueueEvent.id))))) == before


def test_an_item_is_one_task_however_often_it_is_pushed_and_whatever_answer_is_lost(wheel: Wheel) -> None:
    wheel.deploy(0.5)
    wheel.capture(range(5))
    assert wheel.select() == 5
    with pytest.raises(LabelStudioUnreachable):
        wheel.push(LostAnswer(wheel.settings.label_studio_url, wheel.settings.label_studio_token.get_secret_value()))
    assert len(wheel.tasks()) == 3, "the first chunk was committed"
    assert wheel.push() == 5
    assert wheel.push() == 0
    tasks = wheel.tasks()
    assert len(tasks) == len({task["data"]["labelwheel_key"] for task in tasks}) == 5
    assert wheel.statuses() == {task["id"]: "pushed" for task in tasks}
    assert [[entry["model_version"] for entry in task["predictions"]] for task in tasks] == [["labelwheel@1"]] * 5


def twins(wheel: Wheel) -> list[list[int]]:
    """Two items, each with two tasks in Label Studio: by key, oldest first."""
    wheel.capture(range(2))
    wheel.select()
    lost = LostAnswer(wheel.settings.label_studio_url, wheel.settings.label_studio_token.get_secret_value())
    lost.find_tasks = lambda *_: {}  # type: ignore[method-assign]  # the look-up comes before the late commit
    for _ in range(2):
        with pytest.raises(LabelStudioUnreachable):
            wheel.push(lost)
    keys = [task["data"]["labelwheel_key"] for task in wheel.tasks()]
    return list(wheel.studio.find_tasks(wheel.project.ls_project_id, keys).values())


def test_a_twin_that_was_committed_late_is_removed(wheel: Wheel) -> None:
    found = twins(wheel)
    assert wheel.push() == 2
    assert {task["id"] for task in wheel.tasks()} == {oldest for oldest, _ in found} == set(wheel.statuses())


def test_a_twin_that_somebody_worked_on_is_the_one_that_stays(wheel: Wheel) -> None:
    (_, annotated), (_, begun) = twins(wheel)
    wheel.studio.create_annotation(annotated, [drawn()])
    wheel.act("POST", f"api/tasks/{begun}/drafts", result=[drawn()])
    wheel.push()
    assert {task["id"] for task in wheel.tasks()} == {annotated, begun}
    wheel.pull()
    assert wheel.statuses() == {annotated: "approved", begun: "pushed"}


def test_no_work_is_deleted_when_both_twins_were_worked_on(wheel: Wheel) -> None:
    (first, second), _ = twins(wheel)
    for task in (first, second):
        wheel.studio.create_annotation(task, [drawn()])
    wheel.push()
    assert {first, second} < wheel.studio.task_ids(wheel.project.ls_project_id)


def test_two_people_agree_on_one_task_and_not_on_another(wheel: Wheel, second_token: str) -> None:
    wheel.settings = wheel.settings.model_copy(update={"approval": "agree:2@0.6"})
    connect(wheel.settings)
    second = LabelStudio(wheel.settings.label_studio_url, second_token)
    agreed, disputed = wheel.pushed(2)
    for task in (agreed, disputed):
        wheel.studio.create_annotation(task, [drawn(10)])
    wheel.pull()
    assert wheel.statuses() == {agreed: "labeled", disputed: "labeled"}
    assert {task["is_labeled"] for task in wheel.tasks()} == {False}, "each is still offered to a second annotator"

    second.create_annotation(agreed, [drawn(12)])
    second.create_annotation(disputed, [drawn(60)])
    wheel.pull()
    assert wheel.statuses() == {agreed: "approved", disputed: "rejected"}
    [label] = [label for label in wheel.labels() if label["approved_at"]]
    assert (label["annotator"], label["boxes"][0]["box"][0]) == (USERS[1], pytest.approx(10.56)), "the median, said by who spoke last"
    assert wheel.push() == 1
    again = max(wheel.tasks(), key=lambda task: task["id"])
    assert (again["data"]["reason"], again["annotations"]) == ("disagreement", []), "nobody sees what was drawn before"


def test_an_edit_supersedes_and_a_deletion_withdraws_and_opens_the_item_again(wheel: Wheel) -> None:
    task, _ = wheel.pushed(2)
    annotation = wheel.studio.create_annotation(task, [drawn(10)])
    wheel.pull()
    wheel.act("PATCH", f"api/annotations/{annotation}/", result=[drawn(50)])
    wheel.pull()
    first, second = wheel.labels()
    assert (first["next"], second["next"]) == (second["annotation_revision_id"], None)
    assert [label["boxes"][0]["box"][0] for label in (first, second)] == [pytest.approx(9.6), pytest.approx(48)]
    assert wheel.statuses()[task] == "approved"

    wheel.act("DELETE", f"api/annotations/{annotation}/")
    wheel.pull()
    assert all(label["withdrawn_at"] for label in wheel.labels())
    assert wheel.statuses()[task] == "pushed"

    wheel.studio.create_annotation(task, [drawn(30)])
    wheel.pull()
    assert [bool(label["withdrawn_at"]) for label in wheel.labels()] == [True, True, False]
    assert wheel.statuses()[task] == "approved"


def test_a_task_deleted_in_label_studio_expires_and_its_labels_are_withdrawn(wheel: Wheel) -> None:
    kept, opened, labelled = wheel.pushed(3)
    wheel.studio.create_annotation(labelled, [drawn()])
    wheel.pull()
    wheel.studio.delete_tasks(wheel.project.ls_project_id, [opened, labelled])
    wheel.pull()
    assert wheel.statuses() == {kept: "pushed", opened: "expired", labelled: "expired"}
    assert wheel.history(labelled) == ["pending", "pushed", "approved", "expired"]
    assert [bool(label["withdrawn_at"]) for label in wheel.labels()] == [True]
    assert wheel.push() == 0, "a person deleted it: it does not come back by itself"


def test_a_task_that_came_back_under_another_id_is_followed(wheel: Wheel) -> None:
    task, _ = wheel.pushed(2)
    [data] = [entry["data"] for entry in wheel.tasks() if entry["id"] == task]
    [restored] = wheel.studio.import_tasks(wheel.project.ls_project_id, [{"data": data}])
    wheel.studio.delete_tasks(wheel.project.ls_project_id, [task])
    wheel.pull()
    assert wheel.statuses()[restored] == "pushed"


def test_a_deleted_task_is_noticed_also_when_the_next_one_got_its_id(wheel: Wheel) -> None:
    _, deleted = wheel.pushed(2)
    wheel.studio.delete_tasks(wheel.project.ls_project_id, [deleted])
    wheel.capture(range(2, 3))
    assert (wheel.select(), wheel.push()) == (1, 1)
    assert deleted in wheel.studio.task_ids(wheel.project.ls_project_id), "this Label Studio no longer reuses ids: drop this test"
    wheel.pull()
    with wheel.database.read() as session:
        query = select(QueueItem.status).join(LsTask).where(LsTask.ls_task_id == deleted).order_by(QueueItem.id)
        assert list(session.scalars(query)) == ["expired", "pushed"]


def test_after_a_deployment_open_tasks_show_the_new_version_once(wheel: Wheel) -> None:
    first = wheel.deploy(0.5)
    done, *opened = wheel.pushed(4)
    wheel.studio.create_annotation(done, [drawn()])
    wheel.pull()
    second = wheel.deploy(0.9, 0.6)
    assert wheel.refresh(first) == 0, "overtaken"
    assert [wheel.refresh(second), wheel.refresh(second)] == [3, 0]

    versions = {task["id"]: sorted(entry["model_version"] for entry in task["predictions"]) for task in wheel.tasks()}
    assert versions == {done: ["labelwheel@1"], **{task: ["labelwheel@1", "labelwheel@2"] for task in opened}}
    assert wheel.studio.project(wheel.project.ls_project_id).model_version == "labelwheel@2"
    with wheel.database.read() as session:
        assert session.get_one(Deployment, second.id).refreshed_at is not None
        assert dict(session.execute(select(LsTask.ls_task_id, LsTask.served_as)).tuples().all()) == {
            done: "labelwheel@1", **dict.fromkeys(opened, "labelwheel@2"),
        }  # fmt: skip
    wheel.capture(range(4, 5))
    assert (wheel.select(), wheel.push()) == (1, 1)
    assert wheel.studio.project(wheel.project.ls_project_id).model_version == "labelwheel@2"


def test_a_refresh_that_died_half_way_goes_on_and_doubles_nothing(wheel: Wheel, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel.deploy(0.5)
    wheel.pushed(4)
    second = wheel.deploy(0.6)
    sent: list[int] = []

    def dying(project_id: int, predictions: list[dict[str, Any]]) -> int:
        sent.append(LabelStudio.import_predictions(wheel.studio, project_id, predictions))
        raise LabelStudioUnreachable("The line was cut.")

    with monkeypatch.context() as cut:
        cut.setattr("sync.exchange.refresh.CHUNK", 2)
        cut.setattr(wheel.studio, "import_predictions", dying)
        with pytest.raises(LabelStudioUnreachable):
            wheel.refresh(second)
    assert sent == [2]
    assert wheel.refresh(second) == 2
    assert [sorted(entry["model_version"] for entry in task["predictions"]) for task in wheel.tasks()] == [
        ["labelwheel@1", "labelwheel@2"]
    ] * 4


def test_labels_rebuilt_from_the_mirror_are_equal(wheel: Wheel) -> None:
    edited, withdrawn, background, skipped = wheel.pushed(4)
    changed, gone = (wheel.studio.create_annotation(task, [drawn()]) for task in (edited, withdrawn))
    wheel.studio.create_annotation(background, [])
    wheel.studio.create_annotation(skipped, [drawn()], was_cancelled=True)
    wheel.pull()
    wheel.act("PATCH", f"api/annotations/{changed}/", result=[drawn(50), drawn(20, "short")])
    wheel.act("DELETE", f"api/annotations/{gone}/")
    wheel.pull()
    before, statuses = wheel.labels(), wheel.statuses()
    assert len(before) == 4

    with wheel.database.write() as session:
        session.execute(delete(Label))
        reading = reading_of(session, wheel.project, wheel.settings)
    assert rebuild(wheel.database, wheel.project.id, reading).labels == 4
    assert rebuild(wheel.database, wheel.project.id, reading, check=True).differing == []
    assert (wheel.labels(), wheel.statuses()) == (before, statuses)


def test_corrections_are_counted_thresholds_are_written_and_a_doubtful_label_comes_back_as_it_was_drawn(wheel: Wheel) -> None:
    wheel.deploy(0.9, 0.5)
    (task,) = wheel.pushed(1)
    (shown,) = wheel.tasks()[0]["predictions"]
    kept, other = ({**region, "origin": "prediction"} for region in shown["result"])
    swapped = {**other, "origin": "prediction-changed", "value": {**other["value"], "rectanglelabels": ["short"]}}
    mine = drawn(60, "short") | {"origin": "manual"}
    wheel.studio.create_annotation(task, [kept, swapped, mine], parent_prediction=shown["id"], lead_time=7.5)
    wheel.pull()
    with wheel.database.read() as session:
        (correction,) = session.scalars(select(Correction))
    assert [(one["outcome"], one["label"], one["confidence"], one["new_label"]) for one in correction.outcomes] == [
        ("kept", "open", pytest.approx(0.9), "open"), ("relabelled", "open", pytest.approx(0.5), "short"), ("added", None, None, "short"),
    ]  # fmt: skip
    assert (correction.served_as, correction.seconds, correction.source) == (shown["model_version"], 7.5, "line-a")

    write_thresholds(wheel.settings, wheel.project, {"open": 0.6})
    config = wheel.studio.project(wheel.project.ls_project_id).label_config
    assert config == LABEL_CONFIG.replace('<Label value="open"/>', '<Label value="open" model_score_threshold="0.6"/>')
    with wheel.database.read() as session:
        assert session.get_one(Project, wheel.project.id).label_config == config

    doubting = wheel.settings.model_copy(update={"doubt_below": 1.0})
    assert check(wheel.database, doubting, utcnow()) == 1
    assert wheel.push() == 1
    (again,) = [entry for entry in wheel.tasks() if entry["id"] != task]
    assert again["data"]["reason"].startswith("label_error: the model sees ")
    (drawn_before,) = again["predictions"]
    assert [(one["id"], one["value"]["rectanglelabels"]) for one in drawn_before["result"]] == [
        (one["id"], one["value"]["rectanglelabels"]) for one in (kept, swapped, mine)
    ]
