from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labelwheel.errors import LabelStudioError, LabelStudioUnreachable
from labelwheel.labelstudio import LabelStudio, Project

BOX = {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 0}


def task(key: str, **data: Any) -> dict[str, Any]:
    return {"data": {"image": f"/data/local-files/?d=images/{key}.png", "labelwheel_key": key, **data}}


def box(label: str = "open", control: str = "label") -> dict[str, Any]:
    size = {"original_width": 100, "original_height": 100, "image_rotation": 0}
    return {"type": "rectanglelabels", "from_name": control, "to_name": "image", **size, "value": {**BOX, "rectanglelabels": [label]}}


def prediction(task_id: int, version: str = "m@1", **changes: Any) -> dict[str, Any]:
    return {"task": task_id, "model_version": version, "score": 0.5, "result": [box()], **changes}


@pytest.fixture
def tasks(label_studio: LabelStudio, project: Project) -> list[int]:
    return label_studio.import_tasks(project.id, [task(f"k{number}") for number in range(7)])


def test_it_knows_the_server_and_itself(label_studio: LabelStudio) -> None:
    assert label_studio.version() == "1.23.2"
    assert label_studio.me()["email"] == "admin@labelwheel.local"


def test_a_project_is_found_by_its_exact_title(label_studio: LabelStudio, project: Project) -> None:
    assert label_studio.find_project(project.title) == project
    assert label_studio.find_project(project.title[:-1]) is None


def test_a_label_config_that_cannot_be_is_refused_with_the_reason(label_studio: LabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="label_config: toName"):
        label_studio.create_project("broken config", '<View><RectangleLabels name="label" toName="nothing"/></View>')


def test_ids_come_back_in_the_order_of_the_tasks(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    found = label_studio.find_tasks(project.id, [f"k{number}" for number in range(7)])
    assert [found[f"k{number}"] for number in range(7)] == [[task_id] for task_id in tasks]


def test_look_up_by_key_sees_twins_and_misses_strangers(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    twin = label_studio.import_tasks(project.id, [task("k3")])
    many = [f"unknown{number}" for number in range(120)]
    assert label_studio.find_tasks(project.id, [*many, "k3", "k3", "k10"]) == {"k3": [tasks[3], *twin]}


def test_look_up_takes_keys_that_need_escaping(label_studio: LabelStudio, project: Project) -> None:
    odd = 'a "quoted" & 100% ключ/№1?'
    [task_id] = label_studio.import_tasks(project.id, [task(odd)])
    assert label_studio.find_tasks(project.id, [odd]) == {odd: [task_id]}


def test_an_empty_project_answers_everything_with_nothing(label_studio: LabelStudio, project: Project) -> None:
    assert label_studio.find_tasks(project.id, ["k1"]) == {}
    assert label_studio.task_ids(project.id) == set()
    assert list(label_studio.changed_tasks(project.id, None)) == []
    assert list(label_studio.open_tasks(project.id)) == []
    assert label_studio.import_tasks(project.id, []) == []


def test_a_pull_since_a_moment_brings_submitted_and_skipped_work(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    label_studio.import_predictions(project.id, [prediction(tasks[0])])
    moment = datetime.now(UTC)
    label_studio.create_annotation(tasks[1], [box()], was_cancelled=True)
    label_studio.create_annotation(tasks[0], [box("short")], lead_time=1.5)

    skipped, submitted = label_studio.changed_tasks(project.id, moment)

    assert (skipped["id"], skipped["annotations"][0]["was_cancelled"]) == (tasks[1], True)
    assert submitted["annotations"][0]["result"][0]["value"]["rectanglelabels"] == ["short"]
    assert submitted["predictions"][0]["model_version"] == "m@1"
    assert submitted["data"] == task("k0")["data"]


def test_a_pull_includes_its_own_cursor(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    everything = list(label_studio.changed_tasks(project.id, None))
    middle = datetime.fromisoformat(everything[3]["updated_at"])
    assert [entry["id"] for entry in label_studio.changed_tasks(project.id, middle)] == tasks[3:]
    elsewhere = middle.astimezone(tz=datetime.now(UTC).astimezone().tzinfo) + timedelta(microseconds=1)
    assert [entry["id"] for entry in label_studio.changed_tasks(project.id, elsewhere)] == tasks[4:]


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 200])
def test_a_pull_misses_nothing_where_one_moment_fills_pages(
    label_studio: LabelStudio, project: Project, tasks: list[int], page_size: int
) -> None:
    for task_id in tasks[:5]:
        label_studio.create_annotation(task_id, [box()])
    label_studio._act("delete_tasks_annotations", project.id, tasks[:5])  # one statement: one updated_at for all

    pulled = list(label_studio.changed_tasks(project.id, None, page_size=page_size))

    assert len({entry["updated_at"] for entry in pulled}) == 3
    assert sorted(entry["id"] for entry in pulled) == tasks


def test_a_change_during_a_pull_is_not_lost(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    sweep = label_studio.changed_tasks(project.id, None, page_size=2)
    first = next(sweep)
    label_studio.create_annotation(first["id"], [box()])  # moves from the first page to the last
    seen = [first, *sweep]
    assert {entry["id"] for entry in seen} == set(tasks)
    assert (seen[-1]["id"], len(seen[-1]["annotations"])) == (first["id"], 1)


def test_open_tasks_are_those_that_nobody_touched(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    label_studio.import_predictions(project.id, [prediction(tasks[2])])
    label_studio.create_annotation(tasks[0], [box()])
    label_studio.create_annotation(tasks[1], [], was_cancelled=True)

    still_open = list(label_studio.open_tasks(project.id, page_size=2))

    assert [entry["id"] for entry in still_open] == tasks[2:]
    assert [len(entry["predictions"]) for entry in still_open] == [1, 0, 0, 0, 0]


def test_deleting_takes_the_named_tasks_alone(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    label_studio.delete_tasks(project.id, [])
    label_studio.delete_tasks(project.id, tasks[:2])
    assert label_studio.task_ids(project.id) == set(tasks[2:])


def test_refreshing_predictions_does_not_look_like_human_work(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    label_studio.import_predictions(project.id, [prediction(tasks[0]), prediction(tasks[1])])
    before = {entry["id"]: entry["updated_at"] for entry in label_studio.changed_tasks(project.id, None)}

    label_studio.delete_predictions(project.id, [])
    label_studio.delete_predictions(project.id, [tasks[0]])
    assert label_studio.import_predictions(project.id, [prediction(tasks[0], "m@2")]) == 1

    after = list(label_studio.changed_tasks(project.id, None))
    assert {entry["id"]: entry["updated_at"] for entry in after} == before
    versions = {entry["id"]: [item["model_version"] for item in entry["predictions"]] for entry in after}
    assert (versions[tasks[0]], versions[tasks[1]]) == (["m@2"], ["m@1"])


@pytest.mark.parametrize("result", [[box("no such label")], [box(control="no such control")]])
def test_predictions_dropped_in_silence_are_an_error(
    label_studio: LabelStudio, project: Project, tasks: list[int], result: list[dict[str, Any]]
) -> None:
    with pytest.raises(LabelStudioError, match="stored 1 of 2"):
        label_studio.import_predictions(project.id, [prediction(tasks[0]), prediction(tasks[1], result=result)])


def test_task_data_are_replaced(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    label_studio.update_task(tasks[0], task("renamed", priority=0.75)["data"])
    assert label_studio.find_tasks(project.id, ["renamed", "k0"]) == {"renamed": [tasks[0]]}
    assert next(label_studio.open_tasks(project.id))["data"] == task("renamed", priority=0.75)["data"]


def test_a_version_is_pinned_once_predictions_carry_it(label_studio: LabelStudio, project: Project, tasks: list[int]) -> None:
    assert label_studio.set_model_version(project.id, "m@1") is False
    label_studio.import_predictions(project.id, [prediction(tasks[0])])
    assert label_studio.set_model_version(project.id, "m@1") is True
    assert label_studio.project(project.id).model_version == "m@1"
    assert label_studio.set_model_version(project.id, "m@2") is False
    assert label_studio.project(project.id).model_version == ""


def test_the_first_import_with_predictions_pins_their_version(label_studio: LabelStudio, project: Project) -> None:
    carried = {"model_version": "m@7", "score": 0.5, "result": [box()]}
    label_studio.import_tasks(project.id, [{**task("k0"), "predictions": [carried]}])
    assert label_studio.project(project.id).model_version == "m@7"


def test_a_wrong_token_is_told_from_a_dead_server(label_studio: LabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="LABELWHEEL_LABEL_STUDIO_TOKEN") as refused:
        LabelStudio(label_studio.url, "0" * 40).me()
    assert not isinstance(refused.value, LabelStudioUnreachable)
    with pytest.raises(LabelStudioUnreachable, match="LABELWHEEL_LABEL_STUDIO_URL"):
        LabelStudio("http://127.0.0.1:9", "0" * 40).me()


def test_what_is_gone_is_said_to_be_gone(label_studio: LabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="404"):
        label_studio.project(10**9)


@pytest.mark.parametrize(
    ("act", "requests"),
    [
        (lambda client: client.import_tasks(1, [task("k")]), 1),
        (lambda client: client.import_predictions(1, [prediction(1)]), 1),
        (lambda client: client.create_annotation(1, []), 1),
        (lambda client: client.me(), 3),
    ],
    ids=["import tasks", "import predictions", "annotate", "read"],
)
def test_only_reads_are_repeated(tiny_backend: Any, act: Callable[[LabelStudio], object], requests: int) -> None:
    tiny_backend.answer = lambda path, body: (503, {"detail": "starting"})
    with pytest.raises(LabelStudioUnreachable):
        act(LabelStudio(tiny_backend.url, "0" * 40))
    assert len(tiny_backend.asked) == requests


def test_a_server_that_is_not_label_studio_is_named(tiny_backend: Any) -> None:
    with pytest.raises(LabelStudioError, match="404"):
        LabelStudio(tiny_backend.url, "0" * 40).me()
