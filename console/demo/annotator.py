"""The scripted annotator: a script in a person's place, who works through Label Studio's HTTP API alone.

It sees what the UI would show (the image, and the newest prediction of the project's `model_version`), corrects it as
`console.demo.review` says and submits. Every random choice comes from the seed and the task's external id, so that neither
threads nor the order of tasks change the outcome.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urljoin

import cv2
import numpy as np
import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from console.demo.images import Truth
from console.demo.review import FLAWLESS, Rates, Region, Reviewed, Tally, review

__all__ = ["FLAWLESS", "Rates", "ScriptedAnnotator", "Tally"]

Json = dict[str, Any]

PAGE = 200
TIMEOUT = (5, 60)  # seconds to connect, to answer
ACCESS_LIFE = 240  # seconds; Label Studio's access tokens lapse after 300
RETRY = Retry(total=4, read=0, backoff_factor=0.3, status_forcelist=(429, 502, 503, 504), allowed_methods={"GET"}, retry_after_max=10)
UNTOUCHED = {
    "filters": {
        "conjunction": "and",
        "items": [
            {"filter": f"filter:tasks:{column}", "operator": "equal", "value": 0, "type": "Number"}
            for column in ("total_annotations", "cancelled_annotations")
        ],
    },
    "ordering": ["tasks:id"],
}


class TokenAuth(AuthBase):
    """A legacy token as it is, or a personal access token (a JWT) exchanged for access tokens that are renewed in time."""

    def __init__(self, url: str, token: str) -> None:
        self._door, self._token = f"{url}/api/token/refresh/", token
        self._access, self._until = "", 0.0
        self._lock = threading.Lock()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        personal = self._token.count(".") == 2
        request.headers["Authorization"] = f"Bearer {self._renewed()}" if personal else f"Token {self._token}"
        return request

    def _renewed(self) -> str:
        with self._lock:
            if time.monotonic() > self._until:
                answer = requests.post(self._door, json={"refresh": self._token}, timeout=TIMEOUT)
                self._access, self._until = str(_json(answer)["access"]), time.monotonic() + ACCESS_LIFE
            return self._access


@dataclass(frozen=True)
class _Control:
    """What a result needs to know about the project."""

    from_name: str
    to_name: str
    labels: tuple[str, ...]
    model_version: str


class ScriptedAnnotator:
    """Labels tasks from known `truth` (by the task's `data.external_id`) with the stated error `rates`."""

    def __init__(self, url: str, token: str, truth: Mapping[str, Sequence[Truth]], rates: Rates, seed: int) -> None:
        self._url, self._truth, self._rates, self._seed = url.rstrip("/"), truth, rates, seed
        self._session = requests.Session()
        self._session.auth = TokenAuth(self._url, token)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=16, max_retries=RETRY))

    def open_tasks(self, project_id: int) -> list[Json]:
        """Tasks that nobody submitted or skipped, highest `data.priority` first, with their predictions."""
        return sorted(self._pages(project_id), key=lambda task: (-float(task["data"].get("priority") or 0), task["id"]))

    def open_count(self, project_id: int) -> int:
        """How many tasks nobody submitted or skipped."""
        fixed = {"project": project_id, "include": "id", "page_size": 1, "query": json.dumps(UNTOUCHED)}
        return int(self._get("tasks", fixed)["total"])

    def label(self, project_id: int, limit: int | None = None, threads: int = 4, progress: Callable[[int], None] | None = None) -> Tally:
        """Work through the open tasks, at most `limit`; what was done. requests.RequestException when Label Studio refuses."""
        control = self._control(project_id)
        open_tasks = self.open_tasks(project_id)
        known = [task for task in open_tasks if task["data"].get("external_id") in self._truth]
        tally = Tally(unknown=len(open_tasks) - len(known))
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for one in pool.map(lambda task: self._work(task, control), known[:limit]):
                tally += one
                if progress:
                    progress(tally.tasks)
        return tally

    def _work(self, task: Json, control: _Control) -> Tally:
        shown = _shown(task["predictions"], control.model_version)
        size = self._look(task["data"]["image"])
        external_id = str(task["data"]["external_id"])
        rng = np.random.default_rng((self._seed, zlib.crc32(external_id.encode())))
        drafts = _drafts(shown, control, size)
        done = review([region for region, _ in drafts], self._truth[external_id], self._rates, rng, control.labels)
        self._submit(task["id"], _annotation(done, drafts, control, size, shown))
        return done.tally

    def _submit(self, task_id: int, annotation: Json) -> None:
        _json(self._session.post(f"{self._url}/api/tasks/{task_id}/annotations/", json=annotation, timeout=TIMEOUT))

    def _look(self, image: str) -> tuple[int, int]:
        """Width and height of the image as the browser shows it; Label Studio's token goes to Label Studio only."""
        address = urljoin(f"{self._url}/", image)
        inside = address.startswith(f"{self._url}/")
        answer = self._session.get(address, timeout=TIMEOUT) if inside else requests.get(address, timeout=TIMEOUT)
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR) if answer.ok and answer.content else None
        if picture is None:
            shown = f"{address.split('?')[0]} answered {answer.status_code}"  # the query may hold a signature
            raise requests.HTTPError(f"An annotator would see no image: {shown}.", response=answer)
        return picture.shape[1], picture.shape[0]

    def _control(self, project_id: int) -> _Control:
        project = self._get(f"projects/{project_id}/")
        for name, tag in project["parsed_label_config"].items():
            if tag["type"] == "RectangleLabels":
                return _Control(name, tag["to_name"][0], tuple(tag["labels"]), project["model_version"] or "")
        raise ValueError(f"Project {project_id} has no RectangleLabels in its label config; the scripted annotator draws boxes only.")

    def _pages(self, project_id: int) -> Iterator[Json]:
        fixed = {"project": project_id, "fields": "all", "page_size": PAGE, "query": json.dumps(UNTOUCHED)}
        for page in count(1):
            body = self._get("tasks", {**fixed, "page": page})
            yield from body["tasks"]
            if page * PAGE >= body["total"]:  # a page past the end is answered 404
                return

    def _get(self, path: str, params: Json | None = None) -> Json:
        return _json(self._session.get(f"{self._url}/api/{path}", params=params, timeout=TIMEOUT))


def _shown(predictions: Sequence[Json], model_version: str) -> Json | None:
    """The prediction that the UI opens as a draft."""
    fit = (prediction for prediction in predictions if prediction["model_version"] == model_version)
    return max(fit, key=lambda prediction: int(prediction["id"]), default=None) if model_version else None


def _drafts(shown: Json | None, control: _Control, size: tuple[int, int]) -> list[tuple[Region, Json]]:
    """The shown regions in pixels, each with the JSON that it came from."""
    results = [item for item in shown["result"] if item["from_name"] == control.from_name] if shown else []
    return [(_region(number, item, size), item) for number, item in enumerate(results)]


def _region(number: int, item: Json, size: tuple[int, int]) -> Region:
    value = item["value"]
    x, y, across, down = value["x"], value["y"], size[0] / 100, size[1] / 100
    box = Truth(value["rectanglelabels"][0], x * across, y * down, (x + value["width"]) * across, (y + value["height"]) * down)
    return Region(box, str(item.get("id") or f"region{number}"), "prediction", item.get("score"))


def _annotation(
    done: Reviewed, drafts: Sequence[tuple[Region, Json]], control: _Control, size: tuple[int, int], shown: Json | None
) -> Json:
    known = {region.id: item for region, item in drafts}
    return {
        "result": [_result(region, known.get(region.id), control, size) for region in done.regions],
        "was_cancelled": done.skipped,
        "lead_time": round(done.tally.seconds, 1),
        "parent_prediction": shown["id"] if shown else None,
    }


def _result(region: Region, item: Json | None, control: _Control, size: tuple[int, int]) -> Json:
    """One region as the UI submits it; an untouched one goes back exactly as it came."""
    fixed = {"id": region.id, "origin": region.origin, **({} if region.score is None else {"score": region.score})}
    if item is not None and region.origin == "prediction":
        return {**item, **fixed}
    names = {"from_name": control.from_name, "to_name": control.to_name, "type": "rectanglelabels"}
    frame = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return {**frame, "value": _value(region.box, size), **names, **fixed}


def _value(box: Truth, size: tuple[int, int]) -> Json:
    """Percent of the image, cut at its edges."""
    x1, x2 = (min(max(x, 0.0), size[0]) / size[0] * 100 for x in (box.x1, box.x2))
    y1, y2 = (min(max(y, 0.0), size[1]) / size[1] * 100 for y in (box.y1, box.y2))
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0, "rectanglelabels": [box.label]}


def _json(answer: requests.Response) -> Json:
    if not answer.ok:
        door = answer.url.split("?")[0]
        raise requests.HTTPError(f"Label Studio answered {answer.status_code} at {door}: {answer.text[:300]}", response=answer)
    body: Json = answer.json()
    return body
