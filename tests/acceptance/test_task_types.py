"""Every task's predictions on the annotator's own screen: they lie on the object, drawn by the tag that asks for them, by its own model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from labelwheel.database.tables import ClassMap, ModelVersion
from labelwheel.vision.geometry import enclosing
from labelwheel.vision.label_config import CHAMPION, Slot
from retrain.model.deploy import deploy_by_hand
from tests.fixtures.editor import Editor, bounds, open_editor
from tests.fixtures.finders import BAR, LABELS, scene, write_finder
from tests.fixtures.label_studio import Server
from tests.fixtures.station import Station, open_station

CONFIG = """<View>
<Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="bar"/></RectangleLabels>
<RectangleLabels name="turned" toName="image" model="obb"><Label value="turned" predicted_values="bar"/></RectangleLabels>
<PolygonLabels name="outline" toName="image" model="segment"><Label value="outline" predicted_values="bar"/></PolygonLabels>
<RectangleLabels name="body" toName="image" model="pose"><Label value="body" predicted_values="bar"/></RectangleLabels>
<KeyPointLabels name="ends" toName="image" model="pose"><Label value="tail"/><Label value="head"/></KeyPointLabels>
<Choices name="size" toName="image" model="classify"><Choice value="small"/><Choice value="large"/></Choices>
</View>"""
SLOTS = {task: CHAMPION if task == "detect" else Slot(task) for task in LABELS}
FRAME = enclosing(BAR.corners())
ALIKE = 0.9  # intersection over union of pixels on the screen: the outline is some pixels wide
ON_SCREEN = 4  # pixels


@pytest.fixture(scope="module")
def station(label_studio_server: Server, label_studio_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with open_station(label_studio_server, label_studio_token, tmp_path_factory.mktemp("tasks"), CONFIG) as station:
        for task in LABELS:
            deploy_finder(station, task)
        yield station


def deploy_finder(station: Station, task: str) -> None:
    with station.database.write() as session:
        class_map = session.scalars(select(ClassMap).where(ClassMap.project_id == station.project.id)).first()
        assert class_map is not None
        file = station.program.log.with_name(f"{task}.onnx")
        model = ModelVersion(
            project_id=station.project.id, name=SLOTS[task].name or "labelwheel", version=1, onnx_uri=str(file),
            onnx_sha256=write_finder(file, task), weights_uri="", class_map_id=class_map.id, task=task, labels=list(LABELS[task]),
        )  # fmt: skip
        session.add(model)
    deploy_by_hand(station.database, station.settings, model.id, "for the test", SLOTS[task])


@pytest.fixture(scope="module")
def editor(browser: Browser, label_studio_server: Server) -> Iterator[Editor]:
    with open_editor(browser, label_studio_server) as page:
        yield page()


@pytest.fixture(scope="module")
def task(station: Station, editor: Editor) -> int:
    """One that we pushed, open in the editor."""
    [found] = station.pushed(scene())
    editor.open(station.project.ls_project_id, found)
    editor.image()
    return found


@pytest.mark.usefixtures("task")
def test_each_tag_shows_what_its_model_finds(editor: Editor) -> None:
    shown = sorted((region["kind"], region["label"]) for region in editor.regions())
    assert shown == [
        ("keypointregion", "head"), ("keypointregion", "tail"), ("polygonregion", "outline"), ("rectangleregion", "bar"),
        ("rectangleregion", "body"), ("rectangleregion", "turned"),
    ]  # fmt: skip
    assert editor.chosen() == ["large"]
    assert editor.alarms == []
    editor.keep("tasks-all")


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("label", ["turned", "outline"])
def test_a_turned_rectangle_and_an_outline_cover_the_bar_and_nothing_else(editor: Editor, label: str) -> None:
    bright, drawn, _ = editor.masks(label)
    editor.keep(f"tasks-{label}")
    assert overlap(bright, filled(drawn)) > ALIKE
    assert overlap(bright, rectangle(bright)) < 0.7, "a box would not have done"


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("label", ["bar", "body"])
def test_a_rectangle_encloses_the_bar(editor: Editor, label: str) -> None:
    bright, drawn, corner = editor.masks(label)
    editor.keep(f"tasks-{label}")
    assert bounds(drawn, corner) == pytest.approx(bounds(bright, corner), abs=ON_SCREEN)


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize(("label", "corners"), [("tail", (0, 3)), ("head", (1, 2))])
def test_a_point_stands_at_its_end_of_the_bar_and_hangs_on_its_rectangle(editor: Editor, label: str, corners: tuple[int, int]) -> None:
    bright, drawn, corner = editor.masks(label)
    editor.keep(f"tasks-{label}")
    left, top, right, bottom = bounds(bright, corner)
    x, y = BAR.corners()[list(corners)].mean(axis=0)
    wanted = left + (x - FRAME.x1) / FRAME.width * (right - left), top + (y - FRAME.y1) / FRAME.height * (bottom - top)
    x1, y1, x2, y2 = bounds(drawn, corner)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx(wanted, abs=ON_SCREEN)
    assert x2 - x1 < (right - left) / 4, "a point, no area"
    parents = {region["label"]: region["parent"] for region in editor.regions()}
    assert parents["tail"] == parents["head"] is not None
    assert parents["body"] is None


def test_a_task_that_somebody_else_made_is_shown_the_same_when_it_is_opened(station: Station, editor: Editor, task: int) -> None:
    tasks = station.studio.tasks(station.project.ls_project_id, [task])
    other = station.imported(tasks[task]["data"]["image"])
    editor.open(station.project.ls_project_id, other)
    editor.image()
    assert len(editor.regions()) == 6
    assert editor.chosen() == ["large"]
    both = station.studio.tasks(station.project.ls_project_id, [task, other])
    assert results(both[task]) == results(both[other])


def results(task: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    [prediction] = task["predictions"]
    return prediction["model_version"], prediction["result"]


def filled(drawn: np.ndarray) -> np.ndarray:
    """The area within what is drawn: an outline stands on its edge."""
    pieces, _ = cv2.findContours(drawn.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(np.zeros(drawn.shape, np.uint8), pieces, -1, 1, cv2.FILLED).astype(bool)


def rectangle(mask: np.ndarray) -> np.ndarray:
    left, top, right, bottom = bounds(mask, (0, 0))
    found = np.zeros(mask.shape, bool)
    found[top:bottom, left:right] = True
    return found


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    return float((one & other).sum() / (one | other).sum())
