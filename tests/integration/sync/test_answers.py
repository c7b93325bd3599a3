"""Answers through our doors against the in-memory Label Studio, on both databases: once in effect wherever it breaks."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from console.cli import app
from labelwheel.database.tables import AnnotationRevision, Answer, Label, LsTask, Project, QueueItem, Review, utcnow
from labelwheel.errors import ConflictError, InputError, LabelStudioUnreachable
from labelwheel.labelstudio.twin import Twin
from labelwheel.labelstudio.twin_server import TwinServer
from labelwheel.lease import hold
from labelwheel.project import change_classes
from labelwheel.settings import PREFIX, get_settings
from labelwheel.vision.class_change import rename
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box
from sync.exchange import reset
from sync.queue import ALL, OPEN, listing, move, set_aside, show
from sync.review import answer, labels, turn
from sync.review.said import Answered, Repeated, Said
from sync.review.window import Window, open_window
from sync.review.withdraw import withdraw
from tests.fixtures.line import Line
from tests.fixtures.place import Place, opened
from tests.fixtures.plant import USERS as DRAWERS
from tests.fixtures.plant import Plant
from tests.fixtures.studio import USERS
from tests.fixtures.tasks import drawn

ANNA = Said("anna@plant.example", "as seen")
BOXES = [LabelledBox("open", Box(9.6, 12.8, 38.4, 38.4))]


class Cut(Twin):
    """The line is cut at the `at`-th request from now on, after Label Studio has done what was asked."""

    at = 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("tasks", "people", "find_tasks", "import_tasks", "create_annotation", "star_annotation", "update_task"):
            return found

        def asked(*words: Any, **more: Any) -> Any:
            said = found(*words, **more)
            self.at -= 1
            if self.at == 0:
                raise LabelStudioUnreachable("The line was cut.")
            return said

        return asked


class Blind(Twin):
    """What was committed shows one look late."""

    def __init__(self, server: TwinServer) -> None:
        super().__init__(server)
        self.late = True

    def tasks(self, project_id: int, ids: Any) -> dict[int, dict[str, Any]]:
        found = super().tasks(project_id, ids)
        if self.late:
            self.late = False
            return {number: task | {"annotations": []} for number, task in found.items()}
        return found


@pytest.fixture
def place(line: Line) -> Place:
    return opened(line)


@pytest.fixture
def either_place(either_line: Line) -> Place:
    return opened(either_line)


def test_wherever_the_line_is_cut_a_retry_makes_one_annotation_and_one_label(either_place: Place) -> None:
    place, cut, refused = either_place, Cut(either_place.twin.server), 0
    numbers = place.items()
    made = len(numbers) - 1
    for at, item in enumerate(numbers[:-1], start=1):  # from the import of the task to the look at what became of it
        cut.at = at
        try:
            said = answer.label(place.window(cut), item, BOXES, ANNA, 3.0)
        except LabelStudioUnreachable:
            refused += 1
            assert len(place.rows()) in (at - 1, at)
            said = answer.label(place.window(), item, BOXES, ANNA, 3.0)
        assert (said["status"], said["history"][-1]["who"], len(place.rows())) == ("approved", ANNA.who, at)
    assert 4 <= refused < made, "some cuts do not matter"
    assert [place.count(table) for table in (AnnotationRevision, Label, Answer, LsTask)] == [made] * 4

    cut.at = 3
    with pytest.raises(LabelStudioUnreachable):
        answer.approve(place.window(cut), numbers[0], ANNA)  # the star is set, the answer is lost
    assert answer.approve(place.window(), numbers[0], ANNA)["status"] == "approved"
    assert place.rows()[0]["ground_truth"] is True
    with place.database.read() as session:
        said_of = session.execute(select(Review.verdict, Review.who)).tuples().all()
    assert sorted(said_of) == [("approved", ANNA.who), *[("submitted", ANNA.who)] * made]
    before = place.shown()
    place.pull()
    assert place.shown() == before, "the pull finds nothing to add"


def test_what_was_committed_and_not_seen_yet_is_not_written_again(place: Place) -> None:
    item = place.items()[0]
    first = answer.label(place.window(), item, BOXES, ANNA)
    again = answer.label(place.window(Blind(place.twin.server)), item, BOXES, Said(ANNA.who, "", "pushed"))
    assert len(place.rows()) == 1, "Label Studio takes the key once"
    assert again["labels"] == first["labels"]


def test_a_label_of_a_user_of_label_studio_is_theirs_there_too(place: Place) -> None:
    said = answer.label(place.window(), place.items()[0], [], Said("Second@labelwheel.local", "", "pending"))
    assert (place.rows()[0]["completed_by"], said["labels"][0]["annotator"]) == (2, USERS[1]), "by their own address"


def test_a_correction_back_to_an_earlier_answer_is_an_answer_and_a_retry_is_none(either_place: Place) -> None:
    place, item = either_place, either_place.items()[0]
    more = [*BOXES, LabelledBox("open", Box(50, 12.8, 70, 38.4))]

    def given(boxes: list[LabelledBox], status: str | None) -> tuple[int, int]:
        """How many boxes count, and how many annotations there are, after the answer and after a retry of it."""
        [said, again] = [answer.label(place.window(), item, boxes, Said(ANNA.who, "", status)) for _ in range(2)]
        assert said == again
        return len(said["labels"][0]["boxes"]), len(place.rows())

    assert [given(BOXES, None), given(more, "approved"), given(BOXES, "approved")] == [(1, 1), (2, 2), (1, 3)]
    answer.reject(place.window(), item, Said("boss"))
    with pytest.raises(Answered) as refusal:
        answer.label(place.window(), item, BOXES, ANNA)
    assert refusal.value.item["status"] == "approved", "what was there before counts again; who did not see the rejection is told"
    assert given(BOXES, "approved")[1] == 4


def test_a_retry_of_a_lost_answer_undoes_nothing_that_somebody_else_has_said_since(either_place: Place) -> None:
    place, item, other = either_place, either_place.items()[0], [LabelledBox("open", Box(50, 12.8, 70, 38.4))]

    def said(boxes: list[LabelledBox], who: str, again: str = "") -> Any:
        return answer.label(place.window(), item, boxes, Said(who, "", "approved", again))

    def refused(boxes: list[LabelledBox], who: str, again: str = "") -> str:
        before = len(place.rows())
        with pytest.raises(Repeated) as refusal:
            said(boxes, who, again)
        assert (len(place.rows()), refusal.value.item["status"]) == (before, "approved")
        assert refusal.value.again in refusal.value.cure and refusal.value.as_dict()["again"] == refusal.value.again
        return refusal.value.again

    answer.label(place.window(), item, [], Said("carl@plant.example"))
    said(BOXES, ANNA.who)  # its answer is lost
    said(other, "bert@plant.example")
    token = refused(BOXES, ANNA.who)
    assert said(BOXES, ANNA.who, token)["labels"][0]["annotator"] == ANNA.who, "on purpose"
    assert said(BOXES, ANNA.who, token)["labels"][0]["annotator"] == ANNA.who and len(place.rows()) == 4, "a retry of that, too"
    refused(other, "bert@plant.example")
    said([], "bert@plant.example")
    assert refused(BOXES, ANNA.who, token) != token, "she has not seen this one"
    said([*BOXES, *other], ANNA.who)
    assert len(said(BOXES, ANNA.who)["labels"][0]["boxes"]) == 1, "after an answer of her own"
    place.twin.server.edit(place.rows()[-1]["id"], 2, result=[])
    place.pull()
    assert said(BOXES, ANNA.who, refused(BOXES, ANNA.who))["labels"][0]["annotator"] == ANNA.who, "an edit in Label Studio is a word, too"


def test_a_skip_is_not_repeated_over_a_label_and_each_door_says_how_to_insist(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    item = place.items()[0]
    answer.skip(place.window(), item, ANNA)
    answer.label(place.window(), item, BOXES, Said("bert@plant.example", "", "skipped"))
    monkeypatch.setattr("console.queue._window", place.window)
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", place.line.settings.label_studio_url)
    get_settings.cache_clear()
    skip = ("queue", "skip", str(item), "--by", ANNA.who)
    refusal = CliRunner().invoke(app, skip).exception
    assert isinstance(refusal, Repeated) and refusal.cure.endswith(options := f"--status approved --again {refusal.again}.")
    assert CliRunner().invoke(app, [*skip, *options.rstrip(".").split()]).exit_code == 0
    assert [row["was_cancelled"] for row in place.rows()] == [True, False, True]


def test_an_answer_may_use_todays_names_of_classes(place: Place) -> None:
    with place.database.write() as session:
        change_classes(session, place.line.project.id, lambda classes: rename(classes, "open", "gap"), "boss", "")
    boxes = [dataclasses.replace(BOXES[0], label=label) for label in ("gap", "open", "short")]
    said = answer.label(place.window(), place.items()[0], boxes, ANNA)
    assert [box["label"] for box in said["labels"][0]["boxes"]] == ["open", "open", "short"]
    with pytest.raises(InputError, match="no label 'hole'"):
        answer.label(place.window(), place.items()[1], [dataclasses.replace(BOXES[0], label="hole")], ANNA)


def test_one_person_is_one_however_their_address_is_spelt(place: Place) -> None:
    """In Label Studio and through the API: the two answers of one person do not agree with each other."""
    place = Place(dataclasses.replace(place.line, settings=place.line.settings.model_copy(update={"approval": "agree:2@0.7"})), place.twin)
    item = place.items()[0]
    first = answer.label(place.window(), item, BOXES, Said(USERS[1]))
    again = answer.label(place.window(), item, BOXES, Said(USERS[1].title(), "", "pushed"))
    assert (first["status"], again["status"], len(place.rows())) == ("labeled", "labeled", 1), "a retry, too"
    place.twin.server.annotate(place.rows()[0]["task"], place.rows()[0]["result"], 2)
    place.pull()
    assert place.shown()[0]["status"] == "labeled"
    assert answer.label(place.window(), item, BOXES, Said(USERS[0], "", "labeled"))["status"] == "approved"


def test_an_edit_in_label_studio_is_of_whoever_made_it(place: Place) -> None:
    item = place.items()[0]
    answer.label(place.window(), item, BOXES, ANNA)
    place.twin.server.edit(place.rows()[0]["id"], 2, result=[])
    place.pull()
    with place.database.read() as session:
        [label] = show(session, place.line.project.id, item)["labels"]
    assert (label["annotator"], label["boxes"]) == (USERS[1], [])
    with pytest.raises(Answered) as refusal:
        answer.label(place.window(), item, BOXES, Said("bob@plant.example"))
    assert refusal.value.item["labels"] == [label]


def test_an_answer_that_came_late_is_told_in_the_words_of_its_door(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    item = place.items()[0]
    answer.label(place.window(), item, BOXES, ANNA)
    answer.reject(place.window(), item, ANNA)
    monkeypatch.setattr("console.queue._window", place.window)
    monkeypatch.setenv(PREFIX + "LABEL_STUDIO_URL", place.line.settings.label_studio_url)
    get_settings.cache_clear()
    late = ("queue", "approve", str(item), "--by", "eve@plant.example")
    refusal = CliRunner().invoke(app, late).exception
    assert isinstance(refusal, Answered) and refusal.cure.endswith("add --status rejected.")
    with pytest.raises(Answered, match='status "rejected"'):
        answer.approve(place.window(), item, ANNA)
    assert CliRunner().invoke(app, [*late, "--status", "rejected"]).exit_code == 0


def test_an_item_tells_who_replaced_what_and_a_skip_is_called_one(either_place: Place) -> None:
    place, (first, second, third, *_) = either_place, either_place.items()
    answer.label(place.window(), first, BOXES, ANNA)
    said = answer.label(place.window(), first, [], Said("bob@plant.example", "", "approved"))
    assert [(event["status"], event["who"]) for event in said["history"]][-2:] == [
        ("approved", ANNA.who),
        ("replaced", "bob@plant.example"),
    ]
    assert said["history"][-1]["why"].startswith(f"replaced the label of {ANNA.who} of ")
    place.pull()
    assert place.shown()[0]["history"] == said["history"], "looked at again it is told once"
    assert [review["verdict"] for review in answer.skip(place.window(), second, ANNA)["reviews"]] == ["skipped"]
    answer.label(place.window(), third, BOXES, ANNA)
    assert answer.reject(place.window(), third, Said("eve@plant.example"))["history"][-1]["why"] == "rejected"


def test_labels_are_listed_by_what_was_said_of_them(either_place: Place) -> None:
    place, (first, second, third, *_) = either_place, either_place.items()

    def listed(status: str | None = None) -> list[str]:
        with place.database.read() as session:
            return [row["status"] for row in labels.listing(session, place.line.project.id, status=status)]

    for item in (first, second, third):
        answer.label(place.window(), item, BOXES, ANNA)
    answer.reject(place.window(), first, Said("eve@plant.example", "crooked"))
    answer.flag(place.window(), second, Said("eve@plant.example"))
    assert sorted(listed()) == ["approved", "rejected", "waiting"]
    assert [listed(status) for status in ("approved", "rejected", "waiting")] == [["approved"], ["rejected"], ["waiting"]]
    answer.approve(place.window(), first, Said("eve@plant.example", "", "rejected"))
    assert sorted(listed()) == ["approved", "approved", "waiting"], "the last word counts"


def test_what_waits_is_shown_and_what_is_done_if_asked(place: Place) -> None:
    done, *rest = place.items()
    answer.skip(place.window(), done, ANNA)

    def shown(status: str = OPEN) -> list[int]:
        with place.database.read() as session:
            return sorted(row["id"] for row in listing(session, place.line.project.id, status=status))

    assert (shown(), shown("skipped"), shown(ALL)) == (rest, [done], [done, *rest])
    for wrong in ({"status": "zz"}, {"reason": "mood"}):
        with place.database.read() as session, pytest.raises(InputError, match=r"zz|mood"):
            listing(session, place.line.project.id, **wrong)


def test_a_label_whose_task_label_studio_lost_is_judged_with_us_alone(either_line: Line) -> None:
    plant = Plant(either_line, TwinServer(DRAWERS))
    labelled, waiting = plant.pushed(1, 2)
    image = plant.image(labelled)
    plant.server.annotate(labelled, [drawn(10)])
    plant.pull()
    plant.server.delete_tasks(plant.line.project.ls_project_id, [labelled, waiting])
    with plant.line.database.read() as session:
        of = dict(session.execute(select(QueueItem.image_id, QueueItem.id)).tuples().all())
    item, open_item = of[image], next(number for other, number in of.items() if other != image)
    with plant.line.database.write() as session:
        row = session.get_one(Project, plant.line.project.id)
        reset.accept(session, row, plant.client.project(row.ls_project_id), "keep", window_of(plant).reading)
    with pytest.raises(Answered) as refusal:
        answer.label(window_of(plant), open_item, BOXES, Said("anna", "", "pushed"))
    assert ("lost the task" in refusal.value.message, "sent anew" in refusal.value.cure) == (True, True)
    plant.pull(thorough=True)
    assert (plant.in_force().keys(), plant.statuses()[image]) == ({image}, "approved"), "it was kept"

    judged = [
        (act(window_of(plant), item, Said("eve@plant.example", "crooked", status))["status"], len(plant.in_force()))
        for act, status in (
            (answer.reject, None),
            (answer.approve, "rejected"),
            (answer.flag, None),
            (answer.approve, None),
            (answer.reject, None),
        )
    ]
    assert judged == [("rejected", 0), ("approved", 1), ("labeled", 0), ("approved", 1), ("rejected", 0)]
    for act in (lambda said: answer.label(window_of(plant), item, BOXES, said), lambda said: answer.skip(window_of(plant), item, said)):
        with pytest.raises(Answered, match=f"lost the task of item {item}") as refusal:
            act(Said("anna", "", "rejected"))
        assert "labels withdraw --again" in refusal.value.cure
    plant.pull(thorough=True)
    assert (plant.in_force(), plant.statuses()[image]) == ({}, "rejected")
    project, reading = window_of(plant).project, window_of(plant).reading
    withdraw(plant.line.database, project, reading, DRAWERS[0], None, "boss", "", dry_run=False, again=True)
    assert plant.statuses()[image] == "pending", "the cure that was named"


def window_of(plant: Plant) -> Window:
    return open_window(plant.line.database, plant.line.settings, plant.client)


def test_who_cannot_be_served_just_now_is_told_so_and_nothing_is_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENCE_SECONDS", 0.2)
    item = place.items()[0]
    for name in (f"answer:{item}", f"push:{place.line.project.id}", f"pull:{place.line.project.id}"):
        with hold(place.database, name), pytest.raises(ConflictError):
            answer.label(place.window(), item, BOXES, ANNA)
    assert place.rows() == []
    answer.label(place.window(), item, BOXES, ANNA)
    place.twin.server.delete_tasks(place.window().project.ls_project_id, [place.rows()[0]["task"]])
    with pytest.raises(Answered, match="deleted"):
        answer.approve(place.window(), item, ANNA)
    with place.database.write() as session:
        move(session, session.get_one(QueueItem, item + 1), "expired", "selection", "nobody looked")
        set_aside(session, session.get_one(QueueItem, item + 2), "push", "no such label")
    with pytest.raises(Answered, match="is expired, and has no task"):
        answer.label(place.window(), item + 1, BOXES, ANNA)
    for boxes, status in (
        ([LabelledBox("dent", BOXES[0].box)], None),
        ([LabelledBox("open", Box(0, 0, 999, 9))], None),
        (BOXES, "approved"),
    ):
        with pytest.raises(InputError):  # Answered is one, too
            answer.label(place.window(), item + 3, boxes, Said("anna", "", status))
    assert place.count(LsTask) == 1, "what is refused makes no task"
    with pytest.raises(ConflictError, match="cannot become a task: no such label"):
        answer.label(place.window(), item + 2, BOXES, ANNA)
    reset.stop(place.database, place.line.project.id, "it went back", utcnow())
    with pytest.raises(ConflictError, match="it went back"):
        place.window()
