"""What we rely on in Label Studio of projects and webhooks, on the real server and on its twin alike: a difference is a bug of the twin."""

from __future__ import annotations

from typing import Any

import pytest

from labelwheel.errors import LabelStudioError, LabelStudioRefused
from ml_backend.intake import task_ids
from tests.fixtures.contract import box, prediction, task
from tests.fixtures.studio import Counterpart


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
