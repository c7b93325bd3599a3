"""The whole pull against Label Studio's in-memory twin: a backup put back, a server that begins anew, and work that vanishes at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import delete, func, select, update

from console import by_hand
from labelwheel.database.tables import (
    AnnotationRevision,
    Correction,
    Decision,
    Deployment,
    Image,
    Label,
    LsTask,
    Project,
    QueueEvent,
    QueueItem,
    utcnow,
)
from labelwheel.errors import WentBack
from labelwheel.image_url import image_url
from labelwheel.labelstudio.twin_server import TwinServer
from sync.exchange import mirror, reset, sweep
from sync.exchange import pull as reconciler
from sync.exchange.adopt import adopt, ask_for_adoption
from sync.review.answer import label
from sync.review.reading import reading_of
from sync.review.said import Said
from sync.review.window import open_window
from sync.review.withdraw import withdraw
from sync.selection.budget import FIRST_BATCH, SELECTION, spent_since
from sync.selection.pool import EXPIRY
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.fixtures.line import Line
from tests.fixtures.plant import ANNA, BERT, CARL, USERS, Plant
from tests.fixtures.tasks import drawn

ACCEPTED = {"id": "c", "type": "choices", "from_name": "review", "to_name": "image", "value": {"choices": ["accepted"]}}


@pytest.fixture
def plant(line: Line, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Its clock is never set, so that a state of a moment ago is an earlier one."""
    for module in (mirror, sweep, reconciler):
        monkeypatch.setattr(module, "CLOCK", timedelta(0))
    return Plant(line, TwinServer(USERS))


@pytest.mark.parametrize("answer", ["keep", "withdraw"])
def test_a_backup_put_back_is_noticed_before_anything_is_lost(plant: Plant, answer: reset.Answer) -> None:
    edited, deleted, opened, late = plant.pushed(1, 2, 3, 4)
    first, second = plant.server.annotate(edited, [drawn(10)]), plant.server.annotate(deleted, [drawn(20)])
    plant.pull()
    backup = plant.server.snapshot()
    plant.server.edit(first, BERT, result=[drawn(30)])
    plant.server.delete_annotation(second)
    plant.server.annotate(late, [drawn(40)])
    gone, unanswered = plant.pushed(5, 6)
    plant.server.annotate(gone, [drawn(50)])
    plant.pull()
    image = {task: plant.image(task) for task in (edited, deleted, opened, late, gone, unanswered)}
    before = {image[edited]: [28.8], image[late]: [38.4], image[gone]: [48.0]}
    assert plant.in_force() == before

    plant.server.restore(backup)
    plant.server.annotate(opened, [drawn(60)])
    assert (plant.pull(), plant.in_force()) == (0, before)
    assert "earlier state" in plant.held()
    assert plant.pull(thorough=True) == plant.push() == 0, "held"

    plant.accept(answer)
    kept = {**before, image[opened]: [57.6]}
    restored = {image[edited]: [9.6], image[deleted]: [19.2], image[opened]: [57.6]}
    assert plant.in_force() == ({**kept, image[deleted]: [19.2]} if answer == "keep" else restored)
    assert plant.statuses()[image[unanswered]] == ("pending" if answer == "keep" else "expired")
    assert plant.statuses()[image[gone]] == ("approved" if answer == "keep" else "expired")
    assert plant.push() == (1 if answer == "keep" else 0)
    plant.pull()
    plant.mended()
    plant.server.edit(first, CARL, result=[drawn(70)])
    plant.pull()
    assert plant.in_force()[image[edited]] == [67.2], "what is newer than the loss counts"
    plant.mended()


def test_open_tasks_that_a_backup_lacks_are_sent_again(plant: Plant) -> None:
    """Audits, too, which no selection would take a second time."""
    plant.set(audit_rate=1.0)
    (done,) = plant.pushed(1)
    plant.server.annotate(done, [drawn(10)])
    plant.pull(thorough=True)
    backup = plant.server.snapshot()
    late = plant.pushed(*range(2, 14))
    plant.pull(thorough=True)
    plant.server.restore(backup)
    plant.pull()
    assert plant.held() == "12 of 12 open tasks are gone from Label Studio at once."
    assert list(plant.statuses().values()).count("pushed") == len(late)
    plant.accept("keep")
    assert plant.push() == len(late)
    plant.mended()


def test_open_tasks_that_our_expiry_deletes_give_no_alarm(plant: Plant) -> None:
    tasks = plant.pushed(*range(1, 13))
    plant.pull(thorough=True)
    with plant.line.database.write() as session:  # it notes what it is about to delete, deletes it, and is killed
        session.add_all(
            QueueEvent(queue_item_id=item, status="pushed", who=EXPIRY, why="old") for item in session.scalars(select(QueueItem.id))
        )
    plant.server.delete_tasks(plant.line.project.ls_project_id, tasks)
    plant.pull(thorough=True)
    assert (plant.held(), set(plant.statuses().values())) == ("", {"expired"})


def test_a_lost_task_of_others_is_sent_again_as_ours_and_stays_one(plant: Plant) -> None:
    plant.line.inspect(1)
    with plant.line.database.read() as session:
        uri = session.scalars(select(Image.uri)).one()
    backup = plant.server.snapshot()
    theirs = plant.server.import_tasks(plant.line.project.ls_project_id, [{"data": {"image": image_url(uri, plant.line.settings)}}])
    plant.server.delete_annotation(plant.server.annotate(theirs[0], [drawn(10)]))
    with plant.line.database.write() as session:
        ask_for_adoption(session, plant.line.project.id)
    assert adopt(plant.line.database, plant.line.settings, plant.client).adopted == 1
    plant.pull(thorough=True)
    plant.server.restore(backup)
    plant.accept("keep")
    assert (plant.push(), set(plant.statuses().values())) == (1, {"pushed"})
    events = select(func.count()).select_from(QueueEvent)
    with plant.line.database.read() as session:
        (row,), before = session.scalars(select(LsTask)).all(), session.scalar(events)
    (task,) = plant.server.rows.tasks.values()
    assert (row.key, row.ls_task_id, row.adopted) == (task["data"]["labelwheel_key"], task["id"], False)
    for _ in range(2):
        plant.pull(thorough=True)
        assert plant.push() == 0
    with plant.line.database.read() as session:
        assert session.scalar(events) == before
    plant.server.annotate(task["id"], [drawn(20)])
    plant.pull()
    assert plant.in_force() == {plant.image(task["id"]): [19.2]}
    plant.mended()


def test_ids_that_a_restored_server_gives_again_mean_what_they_mean_now(plant: Plant) -> None:
    (kept,) = plant.pushed(1)
    plant.pull()
    backup = plant.server.snapshot()
    (lost,) = plant.pushed(2)
    annotation = plant.server.annotate(lost, [drawn(10)])
    plant.server.annotate(kept, [drawn(20)])
    plant.pull()
    image = {task: plant.image(task) for task in (kept, lost)}
    plant.server.restore(backup)
    plant.accept("keep")
    (again,) = plant.pushed(3)
    assert again == lost
    assert plant.server.annotate(again, [drawn(30)]) == annotation
    plant.pull()
    assert plant.in_force() == {image[kept]: [19.2], image[lost]: [9.6], plant.image(again): [28.8]}
    plant.mended()


@pytest.mark.parametrize("how", ["the project was deleted", "the server began anew"])
def test_another_project_gets_the_open_tasks_and_the_labels_stay(plant: Plant, how: str) -> None:
    done, opened = plant.pushed(1, 2)
    plant.server.annotate(done, [drawn(10)])
    plant.pull()
    before, image = plant.in_force(), {task: plant.image(task) for task in (done, opened)}
    if how == "the server began anew":
        plant.server.restore(TwinServer(USERS).rows)
        plant.client.create_project("Labelwheel", LABEL_CONFIG)
    else:
        plant.server.delete_tasks(plant.line.project.ls_project_id, [done, opened])
        del plant.server.rows.projects[plant.line.project.ls_project_id]
    assert (plant.pull(), plant.push(), plant.in_force()) == (0, 0, before)
    assert ("is gone" if how == "the project was deleted" else "is another one") in plant.held()
    plant.accept("keep")
    assert plant.statuses() == {image[done]: "approved", image[opened]: "pending"}
    assert plant.push() == 1
    (task,) = plant.server.rows.tasks
    plant.server.annotate(task, [drawn(20)])
    plant.pull()
    assert plant.in_force() == {**before, image[opened]: [19.2]}
    plant.mended()


def test_a_stranger_under_our_id_is_sent_nothing_and_keeps_its_pin(plant: Plant) -> None:
    """Push and refresh may come before the pull that stops."""
    plant.line.deploy(0.5)
    plant.pushed(1)
    plant.pull()
    plant.server.restore(TwinServer(USERS).rows)
    theirs = plant.server.create_project("Theirs", LABEL_CONFIG)
    plant.server.rows.projects[theirs]["model_version"] = "theirs@1"
    assert theirs == plant.line.project.ls_project_id
    second = plant.line.deploy(0.55)
    settings, database = plant.line.settings, plant.line.database
    plant.server.import_tasks(theirs, [{"data": {"image": "theirs.png"}}])
    with database.write() as session:
        ask_for_adoption(session, plant.line.project.id)
    for act in (
        lambda: plant.pushed(2),
        lambda: label(open_window(database, settings, plant.client), 2, [], Said(USERS[0])),
        lambda: plant.refresh(second.id),
        lambda: adopt(database, settings, plant.client),
    ):
        with pytest.raises(WentBack, match="is another one"):
            act()
    plant.pull()
    assert (plant.push(), plant.refresh(second.id)) == (0, 0), "held"
    assert [task["data"] for task in plant.server.rows.tasks.values()] == [{"image": "theirs.png"}]
    assert plant.server.rows.projects[theirs]["model_version"] == "theirs@1"
    with database.read() as session:
        assert session.get_one(Deployment, second.id).refreshed_at is None


def test_a_person_who_says_keep_may_be_cut_off_and_the_next_pull_goes_on(plant: Plant) -> None:
    done, opened = plant.pushed(1, 2)
    plant.server.annotate(done, [drawn(10)])
    plant.pull()
    before, image = plant.in_force(), plant.image(opened)
    plant.server.restore(TwinServer(USERS).rows)
    there = plant.client.create_project("Labelwheel", LABEL_CONFIG)
    plant.pull()
    with plant.line.database.write() as session:  # and here the command is killed
        row = session.get_one(Project, plant.line.project.id)
        reset.accept(session, row, there, "keep", reading_of(session, row, plant.line.settings))
    plant.line.project = row
    plant.pull(thorough=True)
    assert (plant.in_force(), plant.statuses()[image]) == (before, "pending")
    plant.push()
    plant.mended()


def test_many_annotations_that_vanish_at_once_stop_the_pull_and_few_do_not(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reset, "FEWEST", 2)
    tasks = plant.pushed(1, 2, 3, 4, 5)
    for task in tasks:
        plant.server.annotate(task, [drawn(10)])
    plant.pull()
    plant.server.delete_annotations(tasks[:2])
    plant.pull()
    assert (len(plant.in_force()), plant.held()) == (3, "")
    plant.server.delete_annotations(tasks[2:])
    plant.pull()
    assert len(plant.in_force()) == 3
    assert "3 of 3 annotations" in plant.held()
    plant.accept("withdraw")
    assert plant.in_force() == {}
    plant.mended()


def test_deleted_tasks_are_found_without_a_word_from_a_webhook_when_they_are_the_newest(plant: Plant) -> None:
    plant.set(tick_deletions=100_000)
    kept, deleted = plant.pushed(1, 2)
    plant.pull()
    image = plant.image(deleted)
    plant.server.delete_tasks(plant.line.project.ls_project_id, [deleted])
    plant.pull()
    assert plant.statuses() == {plant.image(kept): "pushed", image: "expired"}
    plant.mended()


def test_a_pull_of_what_did_not_change_writes_nothing_and_a_refresh_makes_none_full(plant: Plant) -> None:
    tasks = plant.pushed(*range(1, 9))
    plant.server.annotate(tasks[0], [drawn(10)])
    plant.pull()
    with plant.line.database.write() as session:  # as if the last change were a while ago
        row = session.get_one(Project, plant.line.project.id)
        for number, task in enumerate(plant.server.rows.tasks.values()):
            task["updated_at"] = f"2026-11-23T08:0{number}:00.000000Z"
        row.pull_cursor = None
    plant.accept("withdraw")
    plant.server.import_predictions(
        plant.line.project.ls_project_id, [{"task": task, "model_version": "new", "score": 0.5, "result": []} for task in tasks]
    )
    plant.server.annotate(tasks[1], [drawn(20)])
    looked = plant.pull()
    assert looked == 2, "the annotated one and, for the clock's sake, the last; what was refreshed is not looked at"
    with plant.line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Label)) == 2


def test_two_annotators_and_a_third_who_decides(plant: Plant) -> None:
    plant.set(approval="agree:2@0.5")
    same, apart = plant.pushed(1, 2)
    image = {task: plant.image(task) for task in (same, apart)}
    plant.server.annotate(same, [drawn(10)], ANNA)
    plant.server.annotate(apart, [drawn(10)], ANNA)
    plant.pull()
    assert (plant.in_force(), set(plant.statuses().values())) == ({}, {"labeled"})
    plant.server.annotate(same, [drawn(14)], BERT)
    plant.server.annotate(apart, [drawn(60)], BERT)
    plant.pull()
    assert plant.in_force() == {image[same]: [11.5]}
    assert plant.statuses() == {image[same]: "approved", image[apart]: "pending"}
    assert plant.push() == 1
    again = max(plant.server.rows.tasks)
    assert plant.server.rows.tasks[again]["data"]["reason"] == "disagreement"
    plant.server.annotate(again, [drawn(62)], CARL)
    plant.pull()
    assert plant.in_force()[image[apart]] == [58.6]
    plant.mended()


def test_what_was_withdrawn_goes_out_again_and_is_no_second_look(plant: Plant) -> None:
    first, _ = plant.pushed(1, 2)
    plant.server.annotate(first, [drawn(10)], BERT)
    plant.pull()
    with plant.line.database.read() as session:
        reading = reading_of(session, plant.line.project, plant.line.settings)
    withdraw(plant.line.database, plant.line.project, reading, USERS[1], None, "boss", "careless", dry_run=False, again=True)
    sent = [plant.server.rows.tasks[task]["data"] for task in plant.pushed(3)]
    assert set(plant.statuses().values()) == {"pushed"}
    assert [data["reason"] for data in sent if data["labelwheel_key"].endswith("-r2")] == ["disagreement"]
    assert len(sent) == 2
    with plant.line.database.read() as session:
        looks = select(func.count()).select_from(QueueItem).where(QueueItem.reason == "label_error")
        assert session.scalar(looks) == 0, "it takes nothing of a day's second looks"


def test_only_what_a_selection_chose_is_paid_from_its_budget(plant: Plant) -> None:
    plant.set(first_batch=4, approval="agree:2@0.7")
    first = plant.pushed(*range(1, 9))
    plant.line.deploy(0.5)
    plant.set(budget_per_day=3)
    chosen = set(plant.pushed()) - set(first)
    assert (len(first), len(chosen)) == (4, 3)
    for task in (first[0], *chosen):
        plant.server.annotate(task, [drawn(10)], ANNA)
        plant.server.annotate(task, [drawn(60)], BERT)
    plant.pull()
    assert list(plant.statuses().values()).count("pending") == 4, "disagreed on, they go to people again"
    with plant.line.database.read() as session:
        spent = [spent_since(session, plant.line.project.id, kind) for kind in (SELECTION, FIRST_BATCH)]
    assert [len(some) for some in spent] == [3, 4]


@pytest.mark.parametrize("policy", ["submit", "choice:review=accepted"])
def test_an_annotation_of_what_is_no_region_stops_no_other(plant: Plant, policy: str) -> None:
    plant.set(approval=policy)
    odd, good = plant.pushed(1, 2)
    plant.server.annotate(odd, ["junk", None])  # type: ignore[list-item]
    plant.server.annotate(good, [drawn(10), ACCEPTED])
    plant.pull()
    assert plant.in_force() == {plant.image(good): [9.6]}
    assert plant.statuses() == {plant.image(odd): "labeled", plant.image(good): "approved"}, "nothing is said of it: it waits"
    plant.mended()


def test_an_empty_mirror_is_filled_again_and_gives_the_same_labels(plant: Plant) -> None:
    edited, empty, skipped, deleted, opened = plant.pushed(1, 2, 3, 4, 5)
    changed, gone = plant.server.annotate(edited, [drawn(10)]), plant.server.annotate(deleted, [drawn(20)])
    plant.server.annotate(empty, [])
    plant.server.annotate(skipped, [drawn(30)], was_cancelled=True)
    plant.pull()
    plant.server.edit(changed, BERT, result=[drawn(50)])
    plant.server.delete_annotation(gone)
    plant.pull()
    before, statuses = plant.in_force(), plant.statuses()
    assert before == {plant.image(edited): [48.0], plant.image(empty): []}
    with plant.line.database.write() as session:
        for table in (Correction, Label, AnnotationRevision):
            session.execute(delete(table))
        session.execute(delete(Decision).where(Decision.kind == "reading"))
        session.execute(update(Project).values(pull_cursor=None))
    plant.pull()
    assert (plant.in_force(), plant.statuses()) == (before, statuses)
    assert plant.statuses()[plant.image(opened)] == "pushed"
    plant.mended()


def test_whoever_pulls_by_hand_is_told_that_it_is_held(plant: Plant) -> None:
    reset.stop(plant.line.database, plant.line.project.id, "It was restored.", utcnow())
    with pytest.raises(WentBack, match=r"every label stays\. It was restored") as raised:
        by_hand.pull(plant.line.settings, as_json=True)
    assert "--accept-reset keep" in raised.value.cure
