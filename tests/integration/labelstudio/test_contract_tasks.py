"""What we rely on in Label Studio of tasks, on the real server and on its twin alike: a difference is a bug of the twin."""

from __future__ import annotations

from datetime import datetime

import pytest

from labelwheel.errors import LabelStudioRefused
from tests.fixtures.contract import box, changed, moments, task
from tests.fixtures.studio import Counterpart


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
