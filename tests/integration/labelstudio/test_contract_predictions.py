"""What we rely on in Label Studio of predictions, on the real server and on its twin alike: a difference is a bug of the twin."""

from __future__ import annotations

from typing import Any

import pytest

from labelwheel.errors import LabelStudioError
from tests.fixtures.contract import box, changed, moments, prediction, task
from tests.fixtures.studio import Counterpart


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
