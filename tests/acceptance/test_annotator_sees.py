"""What an annotator sees in the real Label Studio after the wheel has turned: image, boxes, and whose boxes they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database import get_database
from labelwheel.database.tables import LsTask, Prediction, QueueItem
from labelwheel.serving import newest_deployment
from sync.jobs import open_client
from tests.fixtures.turn import LIMIT_SECONDS, Turn

pytestmark = pytest.mark.timeout(LIMIT_SECONDS + 300)  # whichever test comes first pays for the demo

TOLERANCE = 0.05  # percent of the image's side

REGIONS = """() => {
  const store = window.Htx && window.Htx.annotationStore;
  const shown = store && store.selected;
  if (!shown || !shown.regionStore) return null;
  return shown.regionStore.regions.map(r => ({x: r.x, y: r.y, width: r.width, height: r.height, label: r.labels && r.labels[0], score: r.score}));
}"""
IMAGE = """() => {
  const image = [...document.querySelectorAll('img')].find(i => i.src.includes('/data/local-files/') && i.naturalWidth > 1);
  return image ? [image.naturalWidth, image.naturalHeight] : null;
}"""

PLACE = """() => {
  const image = [...document.querySelectorAll('img')].find(i => i.src.includes('/data/local-files/') && i.naturalWidth > 1);
  const {x, y, width, height} = image.getBoundingClientRect();
  return {x, y, width, height};
}"""
PAINTED = 0.5  # grey levels of texture; a blank page has 0


@pytest.fixture(scope="module")
def annotator(turn: Turn, browser: Browser) -> Iterator[Page]:
    """Logged in as the user that `up` created."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.goto(f"{turn.settings.label_studio_url}/user/login/")
    page.fill("input[name=email]", turn.settings.label_studio_username)
    page.fill("input[name=password]", turn.settings.label_studio_password.get_secret_value())
    page.click("button[type=submit], [aria-label='Log In']")
    page.wait_for_url(lambda url: "/user/login" not in url)
    yield page
    page.context.close()


@pytest.fixture(scope="module")
def open_task(turn: Turn) -> dict[str, Any]:
    """An open task whose pre-annotation of the deployed version shows at least one box."""
    client = open_client(turn.settings)
    project = _project_id(turn)
    version = client.project(project).model_version
    for task in client.open_tasks(project):
        if any(entry["model_version"] == version and entry["result"] for entry in task["predictions"]):
            return task
    pytest.fail("no open task shows a box of the deployed version")


def test_image_and_boxes_stand_where_the_detector_put_them(turn: Turn, annotator: Page, open_task: dict[str, Any]) -> None:
    seen: list[str] = []
    annotator.on("request", lambda request: seen.append(request.url))
    annotator.goto(f"{turn.settings.label_studio_url}/projects/{_project_id(turn)}/data?task={open_task['id']}")
    size = annotator.wait_for_function(IMAGE, timeout=30_000).json_value()
    regions = annotator.wait_for_function(
        f"() => {{ const found = ({REGIONS})(); return found && found.length ? found : null }}", timeout=30_000
    )
    annotator.wait_for_timeout(1500)  # the picture fades in
    _keep(annotator, turn, "annotator.png")
    assert _painted(annotator) > PAINTED, "the image's place on the page is blank"
    detections, image = _stored(turn, open_task)
    assert size == [image.width, image.height]
    _assert_same(regions.json_value(), _percent(detections, image))
    assert {urlsplit(url).hostname for url in seen if url.startswith("http")} <= {"127.0.0.1", "localhost"}


def test_open_tasks_show_the_new_versions_boxes(turn: Turn, open_task: dict[str, Any]) -> None:
    with get_database(turn.settings.database_url).read() as session:
        deployment = newest_deployment(session, 1)
    assert deployment is not None
    versions = [entry["model_version"] for entry in open_task["predictions"]]
    assert deployment.served_as in versions
    assert open_client(turn.settings).project(_project_id(turn)).model_version == deployment.served_as
    assert turn.report["database"]["deployments"][-1]["served_as"] == deployment.served_as


def test_the_queue_is_sorted_by_priority(turn: Turn, annotator: Page) -> None:
    annotator.goto(f"{turn.settings.label_studio_url}/projects/{_project_id(turn)}/data")
    annotator.get_by_text("Most uncertain first").first.click()
    annotator.wait_for_timeout(2000)
    _keep(annotator, turn, "data-manager.png")
    assert annotator.get_by_text("priority").first.is_visible()


def _project_id(turn: Turn) -> int:
    with get_database(turn.settings.database_url).read() as session:
        from labelwheel.project import current_project

        return current_project(session, turn.settings).ls_project_id


def _stored(turn: Turn, task: dict[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    with get_database(turn.settings.database_url).read() as session:
        row = session.scalar(_task_row(task["data"]["labelwheel_key"]))
        assert row is not None
        return _shown(session, row.queue_item, turn), row.queue_item.image


def _task_row(key: str) -> Any:
    return select(LsTask).where(LsTask.key == key).options(joinedload(LsTask.queue_item).joinedload(QueueItem.image))


def _shown(session: Session, item: QueueItem, turn: Turn) -> list[dict[str, Any]]:
    deployment = newest_deployment(session, item.project_id)
    assert deployment is not None
    query = select(Prediction).where(Prediction.image_id == item.image_id, Prediction.model_version_id == deployment.model_version_id)
    prediction = session.scalars(query).one()
    return [entry for entry in prediction.detections if entry["confidence"] >= turn.settings.display_threshold]


def _percent(detections: list[dict[str, Any]], image: Any) -> list[dict[str, Any]]:
    found = []
    for entry in detections:
        x1, y1, x2, y2 = entry["box"]
        place = {"x": x1 / image.width, "y": y1 / image.height, "width": (x2 - x1) / image.width, "height": (y2 - y1) / image.height}
        found.append({**{key: 100 * value for key, value in place.items()}, "label": entry["label"]})
    return found


def _assert_same(seen: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    keys = ("x", "y", "width", "height")
    ordered = [sorted(regions, key=lambda region: (region["label"], *(round(region[key]) for key in keys))) for regions in (seen, expected)]
    assert [region["label"] for region in ordered[0]] == [region["label"] for region in ordered[1]]
    for one, other in zip(*ordered, strict=True):
        assert all(abs(one[key] - other[key]) < TOLERANCE for key in keys), (one, other)


def _painted(page: Page) -> float:
    """Median texture (grey levels) where the page shows the image: 0 on a blank place, whatever boxes are drawn there."""
    place = page.evaluate(PLACE)
    pixels = cv2.imdecode(np.frombuffer(page.screenshot(clip=place), np.uint8), cv2.IMREAD_GRAYSCALE)
    return float(np.median(np.abs(cv2.Laplacian(pixels, cv2.CV_64F))))


def _keep(page: Page, turn: Turn, name: str) -> None:
    page.screenshot(path=str(Path(turn.settings.home.parent) / name))
