"""The scripted annotator before a real Label Studio: what it submits is read back through the API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from console.demo.annotator import FLAWLESS, Rates, ScriptedAnnotator
from console.demo.images import Frame, SyntheticPlant, Truth
from console.demo.surfaces import HEIGHT, WIDTH
from tests.fixtures.label_studio import Server

ROOT = Path(__file__).parents[3]
SHOWN, OLD = "labelwheel@2+aa", "labelwheel@1+aa"
BIG = Truth("scratch", 20, 20, 80, 70)

Json = dict[str, Any]


class Door:
    """Label Studio's API for the tests' own look."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.session = url, requests.Session()
        access = requests.post(f"{url}/api/token/refresh/", json={"refresh": token}, timeout=30).json()["access"]
        self.session.headers["Authorization"] = f"Bearer {access}"

    def __call__(self, method: str, path: str, **arguments: Any) -> Any:
        answer = self.session.request(method, f"{self.url}/api/{path}", timeout=60, **arguments)
        assert answer.ok, answer.text
        return answer.json()

    def tasks(self, project: int) -> dict[str, Json]:
        page = self("GET", "tasks", params={"project": project, "fields": "all", "page_size": 100})
        return {task["data"]["external_id"]: task for task in page["tasks"]}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def door(label_studio_server: Server, label_studio_token: str) -> Door:
    return Door(label_studio_server.url, label_studio_token)


@pytest.fixture
def project(door: Door) -> int:
    config = (ROOT / "label_config.xml").read_text()
    made = door("POST", "projects", json={"title": f"Demo {uuid.uuid4().hex[:8]}", "label_config": config})
    return int(made["id"])


@pytest.fixture
def frames() -> list[Frame]:
    """Seven scenes, the truth of each replaced by one that the tests can reason about."""
    plant = SyntheticPlant(4)
    return [replace(plant.frame("line-a"), truth=(BIG,), external_id=f"f{number}") for number in range(7)]


@pytest.fixture
def pictures(tmp_path: Path, frames: list[Frame]) -> Iterator[str]:
    for frame in frames:
        (tmp_path / f"{frame.external_id}.jpg").write_bytes(frame.jpeg)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def region(box: Truth, name: str) -> Json:
    value = {"x": box.x1 / WIDTH * 100, "y": box.y1 / HEIGHT * 100, "rotation": 0, "rectanglelabels": [box.label]}
    value |= {"width": (box.x2 - box.x1) / WIDTH * 100, "height": (box.y2 - box.y1) / HEIGHT * 100}
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image", **size, "value": value, "score": 0.5}


def prediction(version: str, *boxes: Truth) -> Json:
    return {"model_version": version, "score": 0.5, "result": [region(box, f"r{number}") for number, box in enumerate(boxes)]}


def task(image: str, external_id: str, priority: float, *predictions: Json) -> Json:
    data = {"image": image, "external_id": external_id, "priority": priority, "source": "line-a", "reason": "audit"}
    return {"data": {**data, "labelwheel_key": external_id, "captured_at": "2026-11-02T06:00:00Z"}, "predictions": list(predictions)}


@pytest.fixture
def imported(door: Door, project: int, pictures: str) -> None:
    far = Truth("dent", 150, 100, 200, 150)
    shifted = Truth("scratch", 35, 20, 95, 70)
    boxes = [[BIG], [shifted], [replace(BIG, label="crack")], [BIG, far], [far], [BIG]]
    tasks = [task(f"{pictures}/f{n}.jpg", f"f{n}", n, prediction(OLD, far), prediction(SHOWN, *some)) for n, some in enumerate(boxes)]
    tasks[5]["predictions"].pop()  # only the old model saw it: the UI shows nothing
    door("POST", f"projects/{project}/import", json=[*tasks, task(f"{pictures}/f6.jpg", "stranger", 50)])
    door("PATCH", f"projects/{project}/", json={"model_version": SHOWN})  # accepted once predictions carry it


def annotator(server: Server, token: str, frames: list[Frame], rates: Rates = FLAWLESS) -> ScriptedAnnotator:
    return ScriptedAnnotator(server.url, token, {frame.external_id: frame.truth for frame in frames}, rates, seed=1)


@pytest.mark.usefixtures("imported")
def test_it_corrects_what_it_is_shown(
    door: Door, project: int, label_studio_server: Server, label_studio_token: str, frames: list[Frame]
) -> None:
    person = annotator(label_studio_server, label_studio_token, frames, replace(FLAWLESS, content=0.9))
    assert person.open_count(project) == 7
    assert [one["data"]["external_id"] for one in person.open_tasks(project)] == ["stranger", "f5", "f4", "f3", "f2", "f1", "f0"]
    tally = person.label(project)
    acts = {"kept": 2, "moved": 1, "relabelled": 1, "deleted": 2, "added": 2}
    assert {**vars(tally), "seconds": 0} == {"tasks": 6, "skipped": 0, "unknown": 1, **acts, "mistakes": 0, "seconds": 0}
    assert [one["data"]["external_id"] for one in person.open_tasks(project)] == ["stranger"]
    done = door.tasks(project)
    origins = {}
    for name in (f"f{number}" for number in range(6)):
        (annotation,) = done[name]["annotations"]
        (result,) = annotation["result"]
        truth = region(BIG, "")["value"]
        assert {key: pytest.approx(result["value"][key], abs=1e-6) for key in ("x", "y", "width", "height")} == {
            key: truth[key] for key in ("x", "y", "width", "height")
        }
        assert result["value"]["rectanglelabels"] == ["scratch"]
        assert (result["original_width"], result["original_height"]) == (WIDTH, HEIGHT)
        assert annotation["was_cancelled"] is False
        assert annotation["lead_time"] > 0
        origins[name] = (result["origin"], result["id"] in {"r0", "r1"}, result.get("score"))
    kept, changed, drawn = ("prediction", True, 0.5), ("prediction-changed", True, 0.5), ("manual", False, None)
    assert origins == {"f0": kept, "f1": changed, "f2": changed, "f3": kept, "f4": drawn, "f5": drawn}
    shown = {name: next((one["id"] for one in done[name]["predictions"] if one["model_version"] == SHOWN), None) for name in origins}
    assert {name: done[name]["annotations"][0]["parent_prediction"] for name in origins} == shown


@pytest.mark.usefixtures("imported")
def test_a_skip_carries_the_predicted_regions_and_closes_the_task(
    door: Door, project: int, label_studio_server: Server, label_studio_token: str, frames: list[Frame]
) -> None:
    person = annotator(label_studio_server, label_studio_token, frames, Rates(skip=1))
    assert vars(person.label(project, limit=4))["skipped"] == 4
    assert len(person.open_tasks(project)) == 3
    done = door.tasks(project)["f3"]
    (annotation,) = done["annotations"]
    assert annotation["was_cancelled"] is True
    assert [(one["id"], one["origin"]) for one in annotation["result"]] == [("r0", "prediction"), ("r1", "prediction")]


@pytest.mark.usefixtures("imported")
def test_threads_do_not_change_the_outcome(
    door: Door, project: int, label_studio_server: Server, label_studio_token: str, frames: list[Frame]
) -> None:
    careless = Rates(move=0.5, miss=0.3, slip=0.5, wrong_label=0.3, skip=0.2)
    person = annotator(label_studio_server, label_studio_token, frames, careless)
    outcomes = []
    for threads in (1, 6):
        person.label(project, threads=threads)
        annotations = {name: one["annotations"][0] for name, one in door.tasks(project).items() if one["annotations"]}
        outcomes.append({name: (json.dumps(one["result"], sort_keys=True), one["lead_time"]) for name, one in annotations.items()})
        for one in annotations.values():
            door.session.delete(f"{door.url}/api/annotations/{one['id']}/", timeout=60)
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 6


def test_an_image_inside_label_studio_is_seen_with_its_token(
    door: Door, project: int, label_studio_server: Server, label_studio_token: str, frames: list[Frame]
) -> None:
    upload = {"file": ("scene.jpg", frames[0].jpeg, "image/jpeg")}
    door("POST", f"projects/{project}/import", params={"commit_to_project": "false"}, files=upload)
    (stored,) = door("GET", f"projects/{project}/file-uploads", params={"all": "true"})
    address = f"/data/{stored['file']}"
    assert requests.get(label_studio_server.url + address, timeout=30).status_code == 401
    door("POST", f"projects/{project}/import", json=[task(address, "f0", 1)])
    assert annotator(label_studio_server, label_studio_token, frames).label(project).added == 1


def test_a_task_without_a_visible_image_is_an_error(
    door: Door, project: int, pictures: str, label_studio_server: Server, label_studio_token: str, frames: list[Frame]
) -> None:
    door("POST", f"projects/{project}/import", json=[task(f"{pictures}/gone.jpg?signature=abc", "f0", 1)])
    with pytest.raises(requests.HTTPError, match="would see no image") as error:
        annotator(label_studio_server, label_studio_token, frames).label(project)
    assert "signature" not in str(error.value)
