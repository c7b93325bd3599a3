"""Boxes stand where the object is, on the annotator's own screen: for every EXIF orientation, and with the image turned in the editor."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import Browser

from labelwheel.vision.drawn import from_regions
from labelwheel.vision.geometry import Box
from labelwheel.vision.label_config import parse
from tests.fixtures.bright import BRIGHT, HEIGHT, WIDTH, scene
from tests.fixtures.editor import Editor, Place, open_editor
from tests.fixtures.label_studio import LABEL_CONFIG, Server
from tests.fixtures.station import Station, open_station

ORIENTATIONS = range(1, 9)
TURNABLE = LABEL_CONFIG.replace('value="$image"', 'value="$image" rotateControl="true"')
ON_SCREEN = 4  # pixels of the screen, where the image is shown about 2.4 times as large: its outline, and rounding
IN_IMAGE = 1.0  # pixels of the image


@pytest.fixture(scope="module")
def station(label_studio_server: Server, label_studio_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with open_station(label_studio_server, label_studio_token, tmp_path_factory.mktemp("exif"), TURNABLE) as station:
        yield station


@pytest.fixture(scope="module")
def tasks(station: Station) -> dict[int, int]:
    """A pre-annotated task of each orientation."""
    station.deploy()
    return dict(zip(ORIENTATIONS, station.pushed(*map(scene, ORIENTATIONS)), strict=True))


@pytest.fixture(scope="module")
def editor(browser: Browser, label_studio_server: Server) -> Iterator[Editor]:
    with open_editor(browser, label_studio_server) as page:
        yield page()


def assert_on_the_object(editor: Editor) -> Place:
    seen, drawn = editor.places()
    assert max(abs(one - other) for one, other in zip(seen, drawn, strict=True)) <= ON_SCREEN, (seen, drawn)
    return seen


def submitted(station: Station, task: int) -> tuple[Box, int]:
    """The box of the task's annotation as we read it, and how the view was turned while it was drawn."""
    [annotation] = station.studio.tasks(station.project.ls_project_id, [task])[task]["annotations"]
    [region] = annotation["result"]
    [labelled], excluded = from_regions(annotation["result"], parse(TURNABLE), WIDTH, HEIGHT)
    assert excluded == []
    assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
    return labelled.box, region["image_rotation"]


def assert_is_the_object(box: Box) -> None:
    assert box.as_tuple() == pytest.approx(BRIGHT.as_tuple(), abs=IN_IMAGE)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_boxes_stand_on_the_object_for_every_orientation(station: Station, editor: Editor, tasks: dict[int, int], orientation: int) -> None:
    stored = Image.open(BytesIO(scene(orientation)))
    assert (stored.size == (WIDTH, HEIGHT)) is (orientation < 5), "what is stored must lie, or nothing is proven"
    editor.open(station.project.ls_project_id, tasks[orientation])
    assert editor.image() == (WIDTH, HEIGHT)
    left, top, right, bottom = assert_on_the_object(editor)
    assert (right - left) > (bottom - top), "the browser shows it upright"
    editor.keep(f"exif-{orientation}")


def test_boxes_stay_on_the_object_while_the_image_is_turned(station: Station, editor: Editor, tasks: dict[int, int]) -> None:
    editor.open(station.project.ls_project_id, tasks[6])
    editor.image()
    upright = [assert_on_the_object(editor)]
    for turns in (1, 2, 3):
        editor.rotate()
        left, top, right, bottom = place = assert_on_the_object(editor)
        assert place not in upright
        assert ((right - left) > (bottom - top)) is (turns == 2), "the object did turn"
        upright.append(place)
        editor.keep(f"exif-6-turned-{90 * turns}")
    editor.submit()
    box, rotation = submitted(station, tasks[6])
    assert rotation == 270
    assert_is_the_object(box)


def test_what_is_drawn_by_hand_on_a_turned_image_is_the_object(station: Station, editor: Editor, tasks: dict[int, int]) -> None:
    editor.open(station.project.ls_project_id, tasks[8])
    editor.image()
    editor.rotate()
    place = assert_on_the_object(editor)
    editor.erase(place)
    assert editor.labels() == []
    editor.draw("open", place)
    assert_on_the_object(editor)
    editor.keep("exif-8-drawn-on-turned")
    editor.submit()
    box, rotation = submitted(station, tasks[8])
    assert rotation == 90
    assert_is_the_object(box)
