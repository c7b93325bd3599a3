"""Several models make one pre-annotation: the champion, and those that tags name; they are followed, shown and changed as one."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, func, select

from labelwheel.database.tables import ClassMap, Image, ModelVersion, Prediction
from labelwheel.errors import ModelError
from labelwheel.serving import LOOK_SECONDS, Follower, newest_deployment
from labelwheel.vision.label_config import Slot
from retrain.model.deploy import deploy_by_hand, renew
from tests.fixtures.line import LS_PROJECT, Line
from tests.integration.ml_backend.test_view import BASIC, edit, served_as
from tests.unit.vision.test_detector import METADATA, write_model

GRADE = Slot("grade")
CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="open"/><Label value="short"/></RectangleLabels>
<Choices name="quality" toName="image" model="grade"><Choice value="good"/><Choice value="bad"/></Choices></View>"""


def add_grade(line: Line, good: float, name: str = "grade") -> int:
    """A model that takes every image for `good` with this share, and for bad with the rest."""
    with line.database.write() as session:
        class_map = session.scalars(select(ClassMap).where(ClassMap.project_id == line.project.id)).first()
        assert class_map is not None
        version = len(session.scalars(select(ModelVersion).where(ModelVersion.name == name)).all()) + 1
        file = line.settings.home / f"{name}-{version}.onnx"
        write_model(
            file,
            np.array([good, 1 - good], np.float32),
            {**METADATA, "task": "classify", "names": "{0: 'good', 1: 'bad'}"},
            embedding=False,
        )
        model = ModelVersion(
            project_id=line.project.id, name=name, version=version, onnx_uri=file.name, onnx_sha256="0" * 64, weights_uri="best.pt",
            class_map_id=class_map.id, task="classify", labels=["good", "bad"],
        )  # fmt: skip
        session.add(model)
    return model.id


def deploy(line: Line, model_version_id: int, slot: Slot = GRADE) -> None:
    deploy_by_hand(line.database, line.settings, model_version_id, "for the test", slot)


def answers(line: Line, config: str = CONFIG, **data: str) -> list[Any]:
    body = {"tasks": [{"id": 1, "data": data}], "project": f"{LS_PROJECT}.1", "label_config": config}
    results: list[Any] = line.client.post("/predict", json=body, headers=BASIC).json["results"]
    return results


def address(line: Line, seed: int) -> str:
    """Of a picture that a camera sent."""
    sent = line.inspect(seed).json["image"]
    with line.database.read() as session:
        uri = session.scalars(select(Image.uri).where(Image.sha256 == sent)).one()
    found: str = line.task(1, uri)["data"]["image"]
    return found


def test_a_tag_shows_the_model_that_it_names_from_its_deployment_on(line: Line) -> None:
    edit(line, CONFIG)
    line.deploy(0.9)
    renew(line.database, line.settings, line.project.id)
    image = address(line, 1)
    [[before]] = answers(line, image=image)
    assert [region["from_name"] for region in before["result"]] == ["label"]

    deploy(line, add_grade(line, 0.2))
    time.sleep(LOOK_SECONDS)
    [[after]] = answers(line, image=image)
    box, grade = after["result"]
    assert (box, grade["value"], grade["score"]) == (before["result"][0], {"choices": ["bad"]}, 0.8)
    assert (before["score"], after["score"]) == (0.9, 0.8)
    assert after["model_version"] == served_as(line) != before["model_version"]


def test_another_model_in_a_slot_is_another_version_and_the_same_one_is_not(line: Line) -> None:
    edit(line, CONFIG)
    line.deploy(0.9)
    first, second = add_grade(line, 0.2), add_grade(line, 0.7)
    names = []
    for model_version_id in (first, first, second, first):
        deploy(line, model_version_id)
        names.append(served_as(line))
    assert names[0] == names[1] == names[3] != names[2]


def test_a_model_that_no_tag_names_is_neither_shown_nor_loaded(line: Line) -> None:
    edit(line, CONFIG)
    line.deploy(0.9)
    deploy(line, add_grade(line, 0.2, name="other"), Slot("other"))
    deploy(line, add_grade(line, 0.2), Slot("grade", "candidate"))
    line_up = Follower(line.database, line.settings, line.project.id).current()
    assert line_up is not None
    assert list(line_up.models) == [Slot()]


def test_a_change_of_one_model_loads_no_other(line: Line) -> None:
    edit(line, CONFIG)
    line.deploy(0.9)
    deploy(line, add_grade(line, 0.2))
    follower = Follower(line.database, line.settings, line.project.id)
    before = follower.current()
    deploy(line, add_grade(line, 0.7))
    time.sleep(LOOK_SECONDS)
    after = follower.current()
    assert before is not None
    assert after is not None
    assert after.champion.detector is before.champion.detector
    assert after.models[GRADE].detector is not before.models[GRADE].detector
    assert after.served_as != before.served_as


def test_a_line_up_with_a_broken_model_is_not_served_in_part(line: Line) -> None:
    edit(line, CONFIG)
    line.deploy(0.9)
    deploy(line, add_grade(line, 0.2))
    follower = Follower(line.database, line.settings, line.project.id)
    before = follower.current()
    deploy(line, add_grade(line, 0.7))
    (line.settings.home / "grade-2.onnx").write_bytes(b"torn")
    time.sleep(LOOK_SECONDS)
    assert follower.current() is before
    with pytest.raises(ModelError):
        Follower(line.database, line.settings, line.project.id).current()


def test_a_model_that_cannot_serve_is_not_deployed_in_a_slot(line: Line) -> None:
    line.deploy(0.9)
    broken = add_grade(line, 0.2)
    (line.settings.home / "grade-1.onnx").write_bytes(b"torn")
    with pytest.raises(ModelError):
        deploy(line, broken)
    with line.database.read() as session:
        assert newest_deployment(session, line.project.id, GRADE) is None


TWO = """<View><Image name="front" value="$image"/><Image name="back" value="$behind"/>
<RectangleLabels name="label" toName="front"><Label value="open"/></RectangleLabels>
<RectangleLabels name="other" toName="back"><Label value="open"/></RectangleLabels></View>"""


def test_each_image_of_a_task_is_looked_at(line: Line) -> None:
    line.deploy(0.9)
    [[found]] = answers(line, TWO, image=address(line, 1), behind=address(line, 2))
    assert [(region["from_name"], region["to_name"]) for region in found["result"]] == [("label", "front"), ("other", "back")]


def test_a_task_with_an_image_that_cannot_be_looked_at_is_not_answered_in_part(line: Line) -> None:
    line.deploy(0.9)
    assert answers(line, TWO, image=address(line, 1), behind="http://127.0.0.1:1/none.png") == [[]]
    assert answers(line, TWO, image=address(line, 1)) == [[]]


def test_a_batch_is_answered_in_order_while_its_images_are_looked_at_together(line: Line) -> None:
    line.deploy(0.9)
    places = [address(line, seed) for seed in range(6)]
    with line.database.write() as session:
        session.execute(delete(Prediction))
    tasks = [{"id": number, "data": {"image": place}} for number, place in enumerate([*places, "nothing", *places])]
    body = {"tasks": tasks, "project": f"{LS_PROJECT}.1", "label_config": CONFIG}
    results = line.client.post("/predict", json=body, headers=BASIC).json["results"]
    assert [bool(found) for found in results] == [True] * 6 + [False] + [True] * 6
    assert results[:6] == results[7:]
    with line.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Prediction)) == 6
