"""What we rely on in Label Studio of what people do, on the real server and on its twin alike: a difference is a bug of the twin."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labelwheel.errors import LabelStudioError
from tests.fixtures.contract import box, changed, moments, prediction, task
from tests.fixtures.studio import USERS, Counterpart

# what changed


def test_a_pull_since_a_moment_brings_submitted_and_skipped_work(studio: Counterpart, tasks: list[int]) -> None:
    studio.client.import_predictions(studio.project.id, [prediction(tasks[0])])
    moment = datetime.now(UTC)
    studio.people.annotate(tasks[1], [box()], was_cancelled=True)
    studio.people.annotate(tasks[0], [box("short")], 1, lead_time=1.5)

    skipped, submitted = studio.client.changed_tasks(studio.project.id, moment)

    assert (skipped["id"], skipped["annotations"][0]["was_cancelled"]) == (tasks[1], True)
    [annotation] = submitted["annotations"]
    assert (annotation["result"], annotation["lead_time"], annotation["task"]) == ([box("short")], 1.5, tasks[0])
    assert submitted["predictions"][0]["model_version"] == "m@1"
    assert submitted["data"] == task("k0")["data"]
    assert "unique_id" not in annotation
    assert studio.client.people()[annotation["completed_by"]] == USERS[1]
    counts = ("total_annotations", "cancelled_annotations", "total_predictions", "is_labeled")
    assert [[entry[name] for name in counts] for entry in (skipped, submitted)] == [[0, 1, 0, False], [1, 0, 1, True]]


def test_a_pull_includes_its_own_cursor(studio: Counterpart, tasks: list[int]) -> None:
    everything = list(studio.client.changed_tasks(studio.project.id, None))
    middle = datetime.fromisoformat(everything[3]["updated_at"])
    assert [entry["id"] for entry in studio.client.changed_tasks(studio.project.id, middle)] == tasks[3:]
    elsewhere = middle.astimezone(tz=datetime.now(UTC).astimezone().tzinfo) + timedelta(microseconds=1)
    assert [entry["id"] for entry in studio.client.changed_tasks(studio.project.id, elsewhere)] == tasks[4:]


@pytest.mark.parametrize("page_size", [1, 3, 7])
def test_a_pull_misses_nothing_where_one_moment_fills_pages(studio: Counterpart, tasks: list[int], page_size: int) -> None:
    for task_id in tasks[:5]:
        studio.people.annotate(task_id, [box()])
    studio.people.delete_annotations(tasks[:5])  # one statement: one updated_at for all

    pulled = list(studio.client.changed_tasks(studio.project.id, None, page_size=page_size))

    assert len({entry["updated_at"] for entry in pulled}) == 3
    assert sorted(entry["id"] for entry in pulled) == tasks


def test_a_change_during_a_pull_is_not_lost(studio: Counterpart, tasks: list[int]) -> None:
    sweep = studio.client.changed_tasks(studio.project.id, None, page_size=2)
    first = next(sweep)
    studio.people.annotate(first["id"], [box()])  # moves from the first page to the last
    seen = [first, *sweep]
    assert {entry["id"] for entry in seen} == set(tasks)
    assert (seen[-1]["id"], len(seen[-1]["annotations"])) == (first["id"], 1)


def test_every_act_on_an_annotation_is_a_change_of_its_task(studio: Counterpart, tasks: list[int]) -> None:
    seen = [moments(studio)[tasks[0]]]
    annotation = studio.people.annotate(tasks[0], [box()])
    for act in (
        lambda: None,
        lambda: studio.people.edit(annotation, [box("short")], 1),
        lambda: studio.people.edit(annotation, [box()], was_cancelled=True),
        lambda: studio.people.delete_annotation(annotation, 1),
    ):
        act()
        seen.append(moments(studio)[tasks[0]])
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    assert changed(studio)[tasks[0]]["annotations"] == []


def test_an_edit_keeps_what_an_annotation_is_known_by(studio: Counterpart, tasks: list[int]) -> None:
    number = studio.people.annotate(tasks[0], [box()])
    [before] = changed(studio)[tasks[0]]["annotations"]
    studio.people.edit(number, [box("short")], 1)
    [after] = changed(studio)[tasks[0]]["annotations"]
    assert (after["id"], after["created_at"], after["completed_by"]) == (number, before["created_at"], before["completed_by"])
    people = studio.client.people()
    assert [people[entry["updated_by"]] for entry in (before, after)] == list(USERS)
    assert after["updated_at"] > before["updated_at"]
    assert after["result"] == [box("short")]


def test_the_id_of_a_deleted_annotation_is_not_given_again(studio: Counterpart, tasks: list[int]) -> None:
    first = studio.people.annotate(tasks[0], [box()])
    studio.people.delete_annotation(first)
    assert studio.people.annotate(tasks[0], [box()]) > first


def test_several_people_annotate_one_task(studio: Counterpart, tasks: list[int]) -> None:
    numbers = [studio.people.annotate(tasks[0], [box()], who) for who in (0, 1, 1)]
    annotations = changed(studio)[tasks[0]]["annotations"]
    people = studio.client.people()
    assert {entry["id"]: people[entry["completed_by"]] for entry in annotations} == dict(
        zip(numbers, (USERS[0], USERS[1], USERS[1]), strict=True)
    )


def test_a_unique_id_is_taken_once_and_an_import_id_is_shown(studio: Counterpart, tasks: list[int]) -> None:
    key = str(uuid.uuid4())
    for task_id, result in ((tasks[0], []), (tasks[0], [box()]), (tasks[1], [])):
        if result or task_id != tasks[0]:
            with pytest.raises(LabelStudioError, match="409"):
                studio.client.create_annotation(task_id, result, unique_id=key, import_id=7)
        else:
            studio.client.create_annotation(task_id, result, unique_id=key, import_id=2**52 - 1)
    [made] = changed(studio)[tasks[0]]["annotations"]
    assert (made["import_id"], made.get("unique_id")) == (2**52 - 1, None)
    assert changed(studio)[tasks[1]]["annotations"] == []
    studio.people.delete_annotation(made["id"])
    studio.client.create_annotation(tasks[0], [], unique_id=key)


def test_a_task_has_one_star_and_the_annotation_that_loses_it_keeps_its_time(studio: Counterpart, tasks: list[int]) -> None:
    first, second = (studio.client.create_annotation(tasks[0], [box()]) for _ in range(2))
    studio.client.star_annotation(first, True)
    before = {made["id"]: made for made in changed(studio)[tasks[0]]["annotations"]}
    studio.client.star_annotation(second, True)
    after = {made["id"]: made for made in changed(studio)[tasks[0]]["annotations"]}
    assert [(after[number]["ground_truth"], after[number]["updated_at"] > before[number]["updated_at"]) for number in (first, second)] == [
        (False, False), (True, True),
    ]  # fmt: skip
    studio.client.star_annotation(second, False)
    assert not any(made["ground_truth"] for made in changed(studio)[tasks[0]]["annotations"])


# who touched it


def test_open_tasks_are_those_that_nobody_submitted_or_skipped(studio: Counterpart, tasks: list[int]) -> None:
    studio.client.import_predictions(studio.project.id, [prediction(tasks[2])])
    studio.people.annotate(tasks[0], [box()])
    studio.people.annotate(tasks[1], [], was_cancelled=True)

    still_open = list(studio.client.open_tasks(studio.project.id, page_size=2))

    assert [entry["id"] for entry in still_open] == tasks[2:]
    assert [len(entry["predictions"]) for entry in still_open] == [1, 0, 0, 0, 0]


def test_open_tasks_that_lack_a_version_are_told_by_its_whole_name(studio: Counterpart, tasks: list[int]) -> None:
    made = [prediction(tasks[2]), prediction(tasks[3]), prediction(tasks[3], "m@2"), prediction(tasks[4], "m@20")]
    studio.client.import_predictions(studio.project.id, made)
    studio.people.annotate(tasks[0], [box()])
    lacking = {version: list(studio.client.open_tasks_without(studio.project.id, version)) for version in ("m@1", "m@2", "m@", "m@11")}
    assert {version: [entry["id"] for entry in found] for version, found in lacking.items()} == {
        "m@1": [tasks[1], *tasks[4:]], "m@2": [*tasks[1:3], *tasks[4:]], "m@": tasks[1:], "m@11": tasks[1:],
    }  # fmt: skip
    assert all(set(entry) >= {"id", "data"} for found in lacking.values() for entry in found)


@pytest.mark.parametrize("who", [0, 1])
def test_a_draft_touches_a_task_and_yet_changes_nothing(studio: Counterpart, tasks: list[int], who: int) -> None:
    before, heard = moments(studio), len(studio.events)
    studio.people.draft(tasks[0], [box()], who)
    assert [studio.client.is_untouched(number) for number in tasks[:2]] == [False, True]
    assert studio.client.find_untouched(studio.project.id, ["k0", "k1", "k9"]) == {"k1": [tasks[1]]}
    assert (moments(studio), len(studio.events)) == (before, heard)
    assert next(studio.client.open_tasks(studio.project.id))["id"] == tasks[0]


@pytest.mark.parametrize("fields", [{}, {"was_cancelled": True}])
def test_an_annotation_of_anybody_touches_a_task(studio: Counterpart, tasks: list[int], fields: dict[str, Any]) -> None:
    studio.people.annotate(tasks[0], [], 1, **fields)
    assert [studio.client.is_untouched(number) for number in tasks[:2]] == [False, True]
    assert studio.client.find_untouched(studio.project.id, ["k0", "k1", "k9"]) == {"k1": [tasks[1]]}


def test_a_task_that_is_gone_is_no_untouched_one(studio: Counterpart, tasks: list[int]) -> None:
    studio.client.delete_tasks(studio.project.id, tasks[:1])
    with pytest.raises(LabelStudioError, match="404"):
        studio.client.is_untouched(tasks[0])
