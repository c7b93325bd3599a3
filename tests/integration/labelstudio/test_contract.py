"""What we rely on in Label Studio, on the real server and on its twin alike: a difference is a bug of the twin."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labelwheel.errors import LabelStudioError, LabelStudioRefused
from ml_backend.intake import task_ids
from tests.fixtures.studio import USERS, Counterpart

BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}


def task(key: str, **data: Any) -> dict[str, Any]:
    return {"data": {"image": f"/data/local-files/?d=images/{key}.png", "labelwheel_key": key, **data}}


def box(label: str = "open", control: str = "label", **place: Any) -> dict[str, Any]:
    size = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    value = {**BOX, **place, "rectanglelabels": [label]}
    return {"type": "rectanglelabels", "from_name": control, "to_name": "image", **size, "value": value}


def prediction(task_id: int, version: str = "m@1", **changes: Any) -> dict[str, Any]:
    return {"task": task_id, "model_version": version, "score": 0.5, "result": [box()], **changes}


@pytest.fixture
def tasks(studio: Counterpart) -> list[int]:
    return studio.client.import_tasks(studio.project.id, [task(f"k{number}") for number in range(7)])


def changed(studio: Counterpart) -> dict[int, dict[str, Any]]:
    """Every task as it stands, by id."""
    return {entry["id"]: entry for entry in studio.client.changed_tasks(studio.project.id, None)}


def moments(studio: Counterpart) -> dict[int, str]:
    return {number: entry["updated_at"] for number, entry in changed(studio).items()}


# tasks


def test_ids_come_back_in_the_order_of_the_tasks(studio: Counterpart, tasks: list[int]) -> None:
    found = studio.client.find_tasks(studio.project.id, [f"k{number}" for number in range(7)])
    assert [found[f"k{number}"] for number in range(7)] == [[task_id] for task_id in tasks]
    assert tasks == sorted(tasks)


def test_nothing_is_deduplicated_and_a_look_up_by_key_sees_twins(studio: Counterpart, tasks: list[int]) -> None:
    twin = studio.client.import_tasks(studio.project.id, [task("k3")])
    many = [f"unknown{number}" for number in range(120)]
    assert studio.client.find_tasks(studio.project.id, [*many, "k3", "k3", "k10"]) == {"k3": [tasks[3], *twin]}


def test_look_up_takes_keys_that_need_escaping(studio: Counterpart) -> None:
    odd = 'a "quoted" & 100% ключ/№1?'
    [task_id] = studio.client.import_tasks(studio.project.id, [task(odd)])
    assert studio.client.find_tasks(studio.project.id, [odd]) == {odd: [task_id]}


def test_an_import_is_refused_as_a_whole_where_one_task_lacks_the_image(studio: Counterpart) -> None:
    with pytest.raises(LabelStudioRefused, match="image"):
        studio.client.import_tasks(studio.project.id, [task("good"), {"data": {"labelwheel_key": "bad"}}, task("fine")])
    assert studio.client.task_ids(studio.project.id) == set()


def test_the_id_of_a_deleted_newest_task_is_given_again(studio: Counterpart, tasks: list[int]) -> None:
    studio.client.delete_tasks(studio.project.id, [tasks[2], tasks[6]])
    assert studio.client.import_tasks(studio.project.id, [task("new")]) == [tasks[6]]
    assert {stamp.id: stamp.key for stamp in studio.client.stamps(studio.project.id)} == {
        tasks[0]: "k0", tasks[1]: "k1", tasks[3]: "k3", tasks[4]: "k4", tasks[5]: "k5", tasks[6]: "new",
    }  # fmt: skip


def test_stamps_say_when_tasks_changed(studio: Counterpart, tasks: list[int]) -> None:
    studio.people.annotate(tasks[2], [box()])
    studio.client.import_tasks(studio.project.id, [{"data": {"image": "/data/local-files/?d=images/foreign.png"}}])
    all_of_them = list(studio.client.stamps(studio.project.id))
    assert {stamp.id: stamp.updated_at for stamp in all_of_them} == {
        number: datetime.fromisoformat(moment) for number, moment in moments(studio).items()
    }
    assert [stamp.key for stamp in all_of_them] == [f"k{number}" for number in range(7)] + [""]
    assert list(studio.client.stamps(studio.project.id, [all_of_them[2].id, 10**6])) == [all_of_them[2]]
    assert list(studio.client.stamps(studio.project.id, [])) == []


def test_an_empty_project_answers_everything_with_nothing(studio: Counterpart) -> None:
    client, number = studio.client, studio.project.id
    assert (client.find_tasks(number, ["k1"]), client.task_ids(number), list(client.stamps(number))) == ({}, set(), [])
    assert (list(client.changed_tasks(number, None)), list(client.open_tasks(number)), client.import_tasks(number, [])) == ([], [], [])


def test_deleting_takes_the_named_tasks_alone(studio: Counterpart, tasks: list[int]) -> None:
    studio.client.delete_tasks(studio.project.id, [])
    studio.client.delete_tasks(studio.project.id, tasks[:2])
    assert studio.client.task_ids(studio.project.id) == set(tasks[2:]) == set(changed(studio))


def test_task_data_are_replaced(studio: Counterpart, tasks: list[int]) -> None:
    before = moments(studio)
    studio.client.update_task(tasks[0], task("renamed", priority=0.75)["data"])
    assert studio.client.find_tasks(studio.project.id, ["renamed", "k0"]) == {"renamed": [tasks[0]]}
    assert next(studio.client.open_tasks(studio.project.id))["data"] == task("renamed", priority=0.75)["data"]
    assert {number for number, moment in moments(studio).items() if moment != before[number]} == {tasks[0]}


def test_a_number_is_set_in_the_data_of_many_tasks_and_nobody_is_told(studio: Counterpart, tasks: list[int]) -> None:
    before, heard = moments(studio), len(studio.events)
    studio.client.set_number(studio.project.id, tasks[:2], "priority", 0.25)
    assert [entry["data"].get("priority") for entry in changed(studio).values()] == [0.25, 0.25] + 5 * [None]
    assert (moments(studio), len(studio.events)) == (before, heard)


def test_the_next_tasks_by_id_come_whole(studio: Counterpart, tasks: list[int]) -> None:
    studio.people.annotate(tasks[3], [box()])
    found = studio.client.tasks_after(studio.project.id, tasks[1], 3)
    assert [(entry["id"], len(entry["annotations"])) for entry in found] == [(tasks[2], 0), (tasks[3], 1), (tasks[4], 0)]
    assert studio.client.tasks_after(studio.project.id, tasks[-1], 3) == []
    assert studio.client.task_count(studio.project.id) == 7


def test_tasks_are_read_by_id(studio: Counterpart, tasks: list[int]) -> None:
    found = studio.client.tasks(studio.project.id, [tasks[1], tasks[4], 10**9])
    assert {number: entry["data"] for number, entry in found.items()} == {tasks[1]: task("k1")["data"], tasks[4]: task("k4")["data"]}
    assert studio.client.tasks(studio.project.id, []) == {}


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


# predictions


def test_refreshing_predictions_does_not_look_like_human_work(studio: Counterpart, tasks: list[int]) -> None:
    client, number = studio.client, studio.project.id
    client.import_predictions(number, [prediction(tasks[0]), prediction(tasks[1])])
    before = moments(studio)

    client.delete_predictions(number, [])
    client.delete_predictions(number, [tasks[0]])
    assert client.import_predictions(number, [prediction(tasks[0], "m@2")]) == 1

    assert moments(studio) == before
    versions = {entry["id"]: [item["model_version"] for item in entry["predictions"]] for entry in changed(studio).values()}
    assert (versions[tasks[0]], versions[tasks[1]]) == (["m@2"], ["m@1"])


@pytest.mark.parametrize(
    "result",
    [[box("no such label")], [box(control="no such control")], [box(width=100.5)], [{**box(), "type": "choices"}]],
    ids=["label", "control", "too wide", "type"],
)
def test_predictions_dropped_in_silence_are_an_error(studio: Counterpart, tasks: list[int], result: list[dict[str, Any]]) -> None:
    with pytest.raises(LabelStudioError, match="stored 1 of 2"):
        studio.client.import_predictions(studio.project.id, [prediction(tasks[0]), prediction(tasks[1], result=result)])
    assert [len(entry["predictions"]) for entry in changed(studio).values()] == [1, 0, 0, 0, 0, 0, 0]


def test_a_corner_outside_of_the_image_is_no_fault(studio: Counterpart, tasks: list[int]) -> None:
    assert studio.client.import_predictions(studio.project.id, [prediction(tasks[0], result=[box(x=-1, rotation=30)])]) == 1


def test_a_prediction_needs_no_score(studio: Counterpart, tasks: list[int]) -> None:
    bare = {name: value for name, value in prediction(tasks[0]).items() if name != "score"}
    assert studio.client.import_predictions(studio.project.id, [bare, prediction(tasks[1], score=None)]) == 2


def test_an_import_of_tasks_stores_predictions_as_they_are(studio: Counterpart) -> None:
    odd = {"model_version": "m@1", "score": 1.5, "result": [box("no such label", x=-1)]}
    [number] = studio.client.import_tasks(studio.project.id, [{**task("k"), "predictions": [odd]}])
    [stored] = changed(studio)[number]["predictions"]
    assert (stored["score"], stored["result"]) == (1.5, odd["result"])


def test_a_version_is_pinned_once_predictions_carry_it(studio: Counterpart, tasks: list[int]) -> None:
    client, number = studio.client, studio.project.id
    assert client.set_model_version(number, "m@1") is False
    client.import_predictions(number, [prediction(tasks[0])])
    assert client.set_model_version(number, "m@1") is True
    assert client.project(number).model_version == "m@1"
    assert client.set_model_version(number, "m@2") is False
    assert client.project(number).model_version == ""


def test_the_first_import_with_predictions_pins_their_version(studio: Counterpart) -> None:
    for key, version in (("k0", "m@7"), ("k1", "m@8")):
        carried = {"model_version": version, "score": 0.5, "result": [box()]}
        studio.client.import_tasks(studio.project.id, [{**task(key), "predictions": [carried]}])
    assert studio.client.project(studio.project.id).model_version == "m@7"


# projects and webhooks


def test_a_project_is_found_by_its_exact_title(studio: Counterpart) -> None:
    found = studio.client.find_project(studio.project.title)
    assert found is not None
    assert found.id == studio.project.id
    assert studio.client.find_project(studio.project.title[:-1]) is None


def test_a_label_config_that_cannot_be_is_refused_with_the_reason(studio: Counterpart) -> None:
    with pytest.raises(LabelStudioRefused, match="label_config: toName"):
        studio.client.create_project("broken config", '<View><RectangleLabels name="label" toName="nothing"/></View>')


def test_what_is_gone_is_said_to_be_gone(studio: Counterpart) -> None:
    with pytest.raises(LabelStudioError, match="404"):
        studio.client.project(10**9)
    paths = [f"api/projects/{number}/" for number in (studio.project.id, 10**9)]
    assert [studio.client.fetch_status(path) for path in paths] == [200, 404]


def test_a_project_says_when_it_was_made(studio: Counterpart) -> None:
    again = studio.client.project(studio.project.id)
    assert again.created_at == studio.project.created_at
    assert studio.client.create_project(f"{studio.project.title}b", again.label_config).created_at > again.created_at


def test_webhooks_tell_what_people_do_and_not_always_where(studio: Counterpart, tasks: list[int]) -> None:
    assert told(studio) == [("TASKS_CREATED", tasks, [])]
    first = studio.people.annotate(tasks[0], [box()])
    skipped = studio.people.annotate(tasks[1], [], 1, was_cancelled=True)
    studio.people.edit(first, [box("short")], 1)
    studio.people.delete_annotation(first)
    studio.people.delete_annotations([tasks[1]])
    studio.client.import_predictions(studio.project.id, [prediction(tasks[0])])
    studio.client.delete_predictions(studio.project.id, [tasks[0]])
    studio.client.update_task(tasks[0], task("k0", priority=1)["data"])
    studio.client.delete_tasks(studio.project.id, tasks[5:])
    assert told(studio)[1:] == [
        ("ANNOTATION_CREATED", [tasks[0]], [first]),
        ("ANNOTATION_CREATED", [tasks[1]], [skipped]),
        ("ANNOTATION_UPDATED", [tasks[0]], [first]),
        ("ANNOTATIONS_DELETED", [], [first]),
        ("ANNOTATIONS_DELETED", [], [skipped]),
        ("TASKS_DELETED", tasks[5:], []),
    ]
    assert {event["project"]["id"] for event in studio.events} == {studio.project.id}


def told(studio: Counterpart) -> list[tuple[str, list[int], list[int]]]:
    """Action, ids of tasks as the intake reads them, ids of annotations."""
    return [(event["action"], task_ids(event), annotation_ids(event)) for event in studio.events]


def annotation_ids(event: dict[str, Any]) -> list[int]:
    singles = [event["annotation"]] if "annotation" in event else []
    return [entry["id"] for entry in [*singles, *event.get("annotations", [])]]


def test_the_webhook_of_an_annotation_carries_both_whole(studio: Counterpart, tasks: list[int]) -> None:
    studio.people.annotate(tasks[0], [box()], lead_time=2.5)
    event = studio.events[-1]
    assert (event["annotation"]["result"], event["annotation"]["lead_time"], event["annotation"]["was_cancelled"]) == ([box()], 2.5, False)
    assert event["annotation"]["unique_id"]
    assert (event["task"]["data"], event["task"]["total_annotations"]) == (task("k0")["data"], 1)


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
