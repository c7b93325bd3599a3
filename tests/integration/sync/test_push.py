"""Pushing, against the in-memory Label Studio: what is asked of it, what is marked before, and what one bad item does to the others."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from console.doctor import _work
from labelwheel.database.tables import AnnotationRevision, Lease, LsTask, Project, QueueEvent, QueueItem, utcnow
from labelwheel.errors import LabelStudioError, LabelStudioRefused, LabelStudioUnreachable
from labelwheel.labelstudio.twin import Twin
from labelwheel.project import remember_project
from labelwheel.schedule import due_work
from sync.exchange.pull import pull
from sync.exchange.push import push
from sync.exchange.reset import held
from sync.queue import listing, take_up
from sync.selection.select import select_captures
from tests.fixtures.crowd import drawn
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.fixtures.line import LABELS, LS_PROJECT, Line
from tests.fixtures.studio import Counterpart, twin_counterpart
from tests.fixtures.trouble import LATE, LOST_AFTER, LOST_BEFORE, Trouble, Troubled


class Asked(Twin):
    """A twin that notes what it is asked, and refuses tasks of some external ids."""

    def __init__(self, counterpart: Counterpart, bad: frozenset[str] = frozenset()) -> None:
        super().__init__(counterpart.client.server)  # type: ignore[attr-defined]
        self.asked: list[tuple[str, int]] = []
        self.bad = bad

    def import_tasks(self, project_id: int, tasks: list[dict[str, Any]]) -> list[int]:
        self.asked.append(("import", len(tasks)))
        if any(task["data"]["external_id"] in self.bad for task in tasks):
            raise LabelStudioRefused("Label Studio answered 400: no.")
        return super().import_tasks(project_id, tasks)

    def find_tasks(self, project_id: int, keys: Any) -> dict[str, list[int]]:
        self.asked.append(("look up", len(keys)))
        return super().find_tasks(project_id, keys)


@pytest.fixture
def studio(either_line: Line) -> Iterator[Counterpart]:
    """The twin of the line's project, with the id that the line knows."""
    counterpart = twin_counterpart()
    with either_line.database.write() as session:
        session.execute(update(Project).values(ls_project_id=counterpart.project.id))
    yield counterpart


@pytest.fixture
def line(either_line: Line) -> Line:
    return Line(either_line.settings.model_copy(update={"push_chunk": 4}), either_line.database, either_line.project, either_line.app)


def chosen(line: Line, count: int, first: int = 0) -> None:
    for seed in range(first, first + count):
        line.inspect(seed)
    assert select_captures(line.database, line.settings, utcnow()) == count


def statuses(line: Line) -> dict[str, tuple[str, bool]]:
    """Status of each item and whether it was set aside, by external id."""
    with line.database.read() as session:
        return {row["external_id"]: (row["status"], row["fault"] is not None) for row in listing(session, line.project.id, status="all")}


def keys(studio: Counterpart) -> dict[int, str]:
    """Our key of each task, by Label Studio's id."""
    return {stamp.id: stamp.key for stamp in studio.client.stamps(studio.project.id)}


def test_a_clean_push_looks_nothing_up(line: Line, studio: Counterpart) -> None:
    chosen(line, 10)
    client = Asked(studio)
    assert push(line.database, line.settings, client) == 10
    assert client.asked == [("import", 4), ("import", 4), ("import", 2)]


@pytest.mark.parametrize("fault", [LOST_AFTER, LATE])
def test_what_was_sent_is_looked_up_before_it_is_sent_again(line: Line, studio: Counterpart, fault: str) -> None:
    chosen(line, 10)
    client, trouble = Asked(studio), Trouble()
    trouble.faults.append(fault)
    with pytest.raises(LabelStudioUnreachable):
        push(line.database, line.settings, Troubled(client, trouble))
    trouble.land()
    client.asked.clear()
    assert push(line.database, line.settings, client) == 10
    assert client.asked == [("look up", 4), ("import", 4), ("import", 2)]
    assert len(studio.client.task_ids(studio.project.id)) == 10


def test_a_commit_after_the_look_up_leaves_twins_that_the_next_pull_removes(line: Line, studio: Counterpart) -> None:
    chosen(line, 3)
    trouble = Trouble()
    trouble.faults.append(LATE)
    with pytest.raises(LabelStudioUnreachable):
        push(line.database, line.settings, Troubled(studio.client, trouble))
    assert push(line.database, line.settings, studio.client) == 3
    trouble.land()
    tasks = keys(studio)
    assert len(tasks) == 6
    second = sorted(tasks)[3]
    studio.people.draft(second, [], 1)  # somebody has begun on one of the late ones
    pull(line.database, line.settings, studio.client)
    left = keys(studio)
    assert sorted(left.values()) == sorted(set(tasks.values()))
    assert second in left
    with line.database.read() as session:
        assert dict(session.execute(select(LsTask.ls_task_id, LsTask.key)).tuples().all()) == left


def test_who_lost_the_lease_while_looking_up_sends_nothing_more(line: Line, studio: Counterpart) -> None:
    chosen(line, 3)
    trouble = Trouble(another=lambda: taken_over(line, studio))
    trouble.faults.append(LOST_BEFORE)
    client = Troubled(studio.client, trouble)
    with pytest.raises(LabelStudioUnreachable):
        push(line.database, line.settings, client)
    trouble.slow.append((1, True))  # the look-up that follows, after the project was asked for
    with pytest.raises(LabelStudioError, match="another worker took over"):
        push(line.database, line.settings, client)
    assert trouble.met["find_tasks: answered after the lease"] == 1
    assert len(studio.client.task_ids(studio.project.id)) == 3


def test_a_pull_that_another_overtook_takes_nothing_for_gone_back(line: Line, studio: Counterpart) -> None:
    chosen(line, 3)
    push(line.database, line.settings, studio.client)
    annotation, made = studio.people.annotate(min(keys(studio)), [], 0), itertools.count(1)

    def overtaken() -> None:
        studio.wait(10)
        studio.people.edit(annotation, [drawn(next(made), "open")], 1)
        lapse(line)
        pull(line.database, line.settings, studio.client, thorough=True)

    trouble = Trouble(another=overtaken)
    for calls, committed in itertools.product(range(8), (False, True)):
        trouble.slow.append((calls, committed))
        with suppress(LabelStudioError):
            pull(line.database, line.settings, Troubled(studio.client, trouble), thorough=True)
        trouble.slow.clear()
        lapse(line)
    assert trouble.met["people: answered after the lease"], trouble.met
    with line.database.read() as session:
        assert held(session, line.project.id) is None
        newest = session.scalars(select(AnnotationRevision).order_by(AnnotationRevision.updated_at.desc()).limit(1)).one()
    assert newest.body["result"][0]["id"] == f"r{next(made) - 1}"


def lapse(line: Line) -> None:
    with line.database.write() as session:
        session.execute(update(Lease).values(expires_at=utcnow() - timedelta(seconds=1)))


def taken_over(line: Line, studio: Counterpart) -> None:
    lapse(line)
    assert push(line.database, line.settings, studio.client) == 3


def test_one_bad_item_is_set_aside_and_stops_no_other(line: Line, studio: Counterpart) -> None:
    chosen(line, 7)
    client = Asked(studio, frozenset({"c-2", "c-5"}))
    assert push(line.database, line.settings, client) == 5
    assert {name for name, (status, aside) in statuses(line).items() if aside} == {"c-2", "c-5"}
    assert {status for status, aside in statuses(line).values() if not aside} == {"pushed"}
    assert push(line.database, line.settings, client) == 0
    with line.database.read() as session:
        assert [name for name, _ in due_work(session, line.settings, utcnow())] == [], "the sweep does not ring for what waits for a person"
        [fault] = [fault for fault in _work(line.database, line.project) if fault.code == "items_set_aside"]
        events = session.scalars(select(QueueEvent.why).where(QueueEvent.who == "push", QueueEvent.status == "pending"))
        assert [why[:9] for why in events] == ["set aside"] * 2
    assert "2 queue items cannot become tasks" in fault.message
    assert "answered 400" in fault.message

    with line.database.write() as session:
        assert take_up(session, line.project.id) == 2
    client.bad = frozenset()
    assert push(line.database, line.settings, client) == 2
    assert set(statuses(line).values()) == {("pushed", False)}
    assert sorted(studio.client.task_ids(studio.project.id)) == list(range(1, 8))


def test_a_project_that_refuses_everything_sets_nothing_aside(line: Line, studio: Counterpart) -> None:
    chosen(line, 3)
    client = Asked(studio, frozenset({"c-0", "c-1", "c-2"}))
    with pytest.raises(LabelStudioRefused):
        push(line.database, line.settings, client)
    assert set(statuses(line).values()) == {("pending", False)}


def test_a_pre_annotation_that_fits_no_more_keeps_its_item_back(line: Line, studio: Counterpart, monkeypatch: pytest.MonkeyPatch) -> None:
    line.deploy(0.5)
    chosen(line, 2)
    made = {
        "model_version": "m@1",
        "score": 0.5,
        "result": [{"from_name": "gone", "to_name": "image", "type": "rectanglelabels", "value": {}}],
    }
    monkeypatch.setattr("sync.exchange.push.pre_annotate", lambda desk, items: {item.id: made for item in items if item.id % 2})
    assert push(line.database, line.settings, studio.client) == 1
    [fault] = [row["fault"] for row in queue_rows(line) if row["fault"]]
    assert fault.startswith("The pre-annotation does not fit the label config: there is no tag 'gone'.")


def test_an_item_that_no_task_can_be_made_of_stops_no_other(line: Line, studio: Counterpart) -> None:
    chosen(line, 2)
    with line.database.write() as session:
        odd = session.scalars(select(QueueItem)).first()
        assert odd
        odd.reason, odd.scores = "label_error", ["no object"]  # type: ignore[assignment]
    assert push(line.database, line.settings, studio.client) == 1
    assert [row["fault"][:15] for row in queue_rows(line) if row["fault"]] == ["AttributeError:"]


def queue_rows(line: Line) -> list[dict[str, Any]]:
    with line.database.read() as session:
        return listing(session, line.project.id, status="all")


def test_a_label_config_that_was_edited_is_followed(line: Line, studio: Counterpart) -> None:
    """Label Studio would store boxes of a label that is no more, and refuse tasks without the image under its new name."""
    line.deploy(0.5)
    chosen(line, 2)
    edited = LABEL_CONFIG.replace("$image", "$photo").replace('<Label value="open"/>', "")
    studio.client.server.rows.projects[studio.project.id]["label_config"] = edited  # type: ignore[attr-defined]
    assert push(line.database, line.settings, studio.client) == 2
    tasks = list(studio.client.open_tasks(studio.project.id))
    assert all("photo" in task["data"] and task["predictions"][0]["result"] == [] for task in tasks)
    with line.database.write() as session:
        remember_project(session, line.settings.label_studio_name, LS_PROJECT, line.settings.label_studio_project, edited, LABELS)


def test_what_people_do_on_a_task_that_is_not_recorded_yet_is_not_passed_over(line: Line, studio: Counterpart) -> None:
    chosen(line, 2)
    trouble = Trouble()
    trouble.faults.append(LOST_AFTER)
    with pytest.raises(LabelStudioUnreachable):
        push(line.database, line.settings, Troubled(studio.client, trouble))
    first, second = sorted(studio.client.task_ids(studio.project.id))
    studio.people.annotate(first, [], 1)
    studio.wait(10)
    studio.people.annotate(second, [], 0)
    assert pull(line.database, line.settings, studio.client) == 0, "no task is recorded yet"
    studio.client.import_tasks(studio.project.id, [{"data": {"image": "other.png"}}])  # else the cursor would stand on the last act
    studio.wait(10)
    studio.client.import_tasks(studio.project.id, [{"data": {"image": "another.png"}}])
    pull(line.database, line.settings, studio.client)
    assert push(line.database, line.settings, studio.client) == 2
    pull(line.database, line.settings, studio.client)
    assert {status for status, _ in statuses(line).values()} == {"approved"}
    with line.database.read() as session:
        assert len(list(session.scalars(select(QueueItem.id).where(QueueItem.status == "approved")))) == 2
