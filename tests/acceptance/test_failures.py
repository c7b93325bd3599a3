"""What breaks behind the annotator's back: the task opens all the same, doctor names the fault, the cure brings the boxes, nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser
from sqlalchemy import func, select

from console.connect import connect
from labelwheel.database.tables import Image, Prediction
from labelwheel.image_url import image_url
from labelwheel.serving import LOOK_SECONDS, newest_deployment
from sync.exchange.refresh import refresh
from tests.fixtures.bright import scene
from tests.fixtures.editor import Editor, open_editor
from tests.fixtures.label_studio import LABEL_CONFIG, Server
from tests.fixtures.station import Station, open_station


@pytest.fixture(scope="module")
def station(label_studio_server: Server, label_studio_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with open_station(label_studio_server, label_studio_token, tmp_path_factory.mktemp("failures")) as station:
        yield station


@pytest.fixture(scope="module")
def editor(browser: Browser, label_studio_server: Server) -> Iterator[Editor]:
    with open_editor(browser, label_studio_server) as page:
        yield page()


def taken(station: Station, seed: int) -> str:
    """The place in our store of an image that a camera sent."""
    sha256 = station.capture(scene(seed=seed)).json()["image"]
    with station.database.read() as session:
        return session.scalars(select(Image.uri).where(Image.sha256 == sha256)).one()


def new_task(station: Station, uri: str) -> int:
    """A task of one of our images, made by somebody else: Label Studio asks for its prediction when it is opened."""
    return station.imported(image_url(uri, station.settings))


def shown(station: Station, editor: Editor, task: int, name: str) -> list[str]:
    """The labels of the boxes that an annotator sees who opens the task; nothing stands before it, and no script stumbled."""
    editor.alarms.clear()
    editor.open(station.project.ls_project_id, task)
    editor.image()
    editor.keep(f"fails-{name}")
    assert editor.alarms == []
    return editor.labels()


def kept(station: Station) -> tuple[int, int, int]:
    """Tasks, their annotations, and our stored predictions."""
    tasks = station.studio.tasks(station.project.ls_project_id, station.studio.task_ids(station.project.ls_project_id))
    with station.database.read() as session:
        predictions = session.scalar(select(func.count()).select_from(Prediction)) or 0
    return len(tasks), sum(len(task["annotations"]) for task in tasks.values()), predictions


def test_without_a_model(station: Station, editor: Editor) -> None:
    task = new_task(station, taken(station, 1))
    assert shown(station, editor, task, "no-model") == []
    fault = station.doctor(everything=True)["no_model"]
    assert not fault["broken"]
    assert "model import" in fault["cure"]
    assert station.versions(task) == [], "an empty prediction would be shown for ever"

    station.deploy()
    time.sleep(LOOK_SECONDS)
    assert shown(station, editor, task, "no-model-cured") == ["open"]
    assert "no_model" not in station.doctor(everything=True)


def test_a_killed_ml_backend(station: Station, editor: Editor) -> None:
    task, before = new_task(station, taken(station, 2)), kept(station)
    station.program.kill()
    assert shown(station, editor, task, "killed") == []
    fault = station.doctor()["ml_backend_down"]
    assert fault["broken"]
    assert "labelwheel up" in fault["cure"]
    assert kept(station) == before

    station.program.start()
    assert shown(station, editor, task, "killed-cured") == ["open"]
    assert kept(station) == before
    assert "ml_backend_down" not in station.doctor()


def test_a_broken_model_file(station: Station, editor: Editor) -> None:
    task, file = new_task(station, taken(station, 3)), station.model_file(1)
    before, whole = kept(station), file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    station.program.kill()
    station.program.start()
    assert shown(station, editor, task, "broken-model") == []
    assert "model-1.onnx" in station.doctor()["model_broken"]["message"]
    assert kept(station) == before

    file.write_bytes(whole)
    assert shown(station, editor, task, "broken-model-cured") == ["open"]
    assert kept(station) == before
    assert "model_broken" not in station.doctor()


def test_a_vanished_image(station: Station, editor: Editor) -> None:
    """The deployed model has not seen it yet."""
    uri = taken(station, 4)
    station.deploy("short")
    time.sleep(LOOK_SECONDS)
    task, file = new_task(station, uri), station.settings.images_dir / uri
    before, whole = kept(station), file.read_bytes()
    file.unlink()
    editor.open(station.project.ls_project_id, task)
    editor.page.get_by_text("There was an issue loading URL").first.wait_for()
    editor.keep("fails-vanished")
    assert editor.regions() == []
    assert station.versions(task) == []
    found = station.doctor()
    assert uri in found["images_lost"]["message"]
    assert "not_found 1" in found["tasks_unanswered"]["message"]
    assert kept(station) == before

    file.write_bytes(whole)
    assert shown(station, editor, task, "vanished-cured") == ["short"]
    tasks, annotations, predictions = before
    assert kept(station) == (tasks, annotations, predictions + 1)
    assert "images_lost" not in station.doctor()


def test_a_label_config_that_was_edited(station: Station, editor: Editor) -> None:
    [task] = station.pushed(scene(seed=5))
    assert shown(station, editor, task, "config-before") == ["short"]
    before = kept(station)
    edited = LABEL_CONFIG.replace('value="short"', 'value="gap" predicted_values="short"')
    assert edited != LABEL_CONFIG
    edit(station, edited)
    shown(station, editor, task, "config-edited")
    fault = station.doctor()["label_config_changed"]
    assert not fault["broken"]
    assert "labelwheel connect" in fault["cure"]

    connect(station.settings)
    with station.database.read() as session:
        deployment = newest_deployment(session, station.project.id)
    assert deployment is not None
    refresh(station.database, station.settings, station.studio, deployment.id)  # the worker's job, which a deployment rings for
    assert shown(station, editor, task, "config-cured") == ["gap"]
    assert kept(station) == before, "no image was looked at again"
    assert "label_config_changed" not in station.doctor()


def edit(station: Station, label_config: str) -> None:
    """As a person does at Settings → Labeling Interface."""
    project_id = station.project.ls_project_id
    station.studio.connection.call(lambda sdk: sdk.projects.update(project_id, label_config=label_config))
