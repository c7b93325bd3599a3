"""`/api/retraining/…` through the real app, on each database; progress from a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from console import progress
from labelwheel.database import Database
from labelwheel.database.tables import Project, TrainingRun, utcnow
from labelwheel.settings import Settings
from tests.fixtures import wheel
from tests.fixtures.label_studio import free_port
from tests.fixtures.served import serving
from tests.integration.console.test_doors import csrf_of, log_in


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Once on each engine, but for the test that asks for none."""
    url = request.getfixturevalue("empty_url") if "empty_url" in request.fixturenames else ""
    return wheel.settings_for(tmp_path, database_url=url, console_port=free_port())


@pytest.fixture
def client(app: Flask, bearer: dict[str, str]) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer["Authorization"]
    return client


both = pytest.mark.usefixtures("empty_url")


@both
def test_a_run_is_pushed_with_a_recipe_shown_and_cancelled_once(client: FlaskClient, filled: Project, database: Database) -> None:
    wanted = {"who": "anna", "note": "after the rebuild", "recipe": {"start": "scratch", "updates": 80}}
    pushed = client.post("/api/retraining/trigger", json=wanted)
    assert pushed.status_code == 202
    shown = client.get(pushed.headers["Location"]).json
    assert (shown["id"], shown["status"], shown["cause"]) == (pushed.json["run"], "queued", "manual")
    assert shown["request"] == {"who": "anna", "note": "after the rebuild", "start": "scratch", "updates": 80}
    again = client.post("/api/retraining/trigger", json=wanted)
    assert (again.status_code, again.json["error"]["code"]) == (409, "conflict")
    ended = client.post("/api/retraining/cancel", json={"who": "bob", "why": "wrong labels"})
    assert ended.json == {"run": shown["id"], "status": "cancelled"}
    assert client.get(pushed.headers["Location"]).json["error"] == "Cancelled by bob: wrong labels"
    assert client.post("/api/retraining/cancel").status_code == 404
    late = client.post("/api/retraining/cancel", json={"run": shown["id"]})
    assert (late.status_code, late.json["error"]["code"]) == (409, "conflict")
    assert client.post("/api/retraining/cancel", json={"run": 999}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("trigger", {"recipe": {"updates": 0}}, 422, "recipe.updates"),
        ("trigger", {"recipe": {"epochs": 3}}, 422, "recipe.epochs"),
        ("trigger", {"force": True}, 422, "force"),
        ("trigger", {"recipe": {"start": "best.pt"}}, 400, "best.pt"),
        ("trigger", {"recipe": {"architecture": "yolo11s"}}, 400, "architecture"),
        ("cancel", {"run": "1"}, 422, "run"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    client: FlaskClient, filled: Project, path: str, body: dict[str, Any], status: int, named: str
) -> None:
    answer = client.post(f"/api/retraining/{path}", json=body)
    assert answer.status_code == status
    assert named in answer.json["error"]["message"] and answer.json["error"]["cure"]


@both
def test_history_has_pages(client: FlaskClient, filled: Project) -> None:
    first = client.get("/api/retraining/history?limit=1").json
    second = client.get(f"/api/retraining/history?limit=1&after={first['next']}").json
    third = client.get(f"/api/retraining/history?limit=1&after={second['next']}").json
    assert [run["id"] for page in (first, second, third) for run in page["runs"]] == [2, 1]
    assert third["next"] is None


@both
def test_status_and_conditions_tell_the_same(client: FlaskClient, filled: Project) -> None:
    status, conditions = client.get("/api/retraining/status").json, client.get("/api/retraining/conditions").json
    assert (status["told"], status["should_retrain"]) == (conditions["told"], conditions["should_retrain"])
    drift = next(reason for reason in conditions["reasons"] if reason["code"] == "drift")
    assert drift["text"].startswith("line-c has drifted") and (drift["kind"], drift["need"]) == ("cause", 20)


@both
def test_a_receipt_says_what_is_not_known(client: FlaskClient, filled: Project, app: Flask) -> None:
    found = client.get("/api/retraining/2/receipt").json
    assert found["over_champion"] == {"gain": 0.145, "lower": None, "upper": None, "confidence": None}
    assert "no interval" in " ".join(found["lines"]) and found["over_control"] is None
    assert any("holdout" in caveat for caveat in found["caveats"])
    run = client.post("/api/retraining/trigger").json["run"]
    assert client.get(f"/api/retraining/{run}/receipt").status_code == 409
    assert client.get("/api/retraining/99999999999999999999/receipt").status_code == 404
    log_in(client)
    page = client.get("/receipts/2")
    assert page.status_code == 200 and found["lines"][0] in page.text
    assert "/receipts/2" in client.get("/").text
    assert client.get("/receipts/99").status_code == 404


@both
def test_the_page_can_end_a_run(client: FlaskClient, filled: Project) -> None:
    log_in(client)
    client.post("/api/retraining/trigger")
    page = client.get("/").text
    assert "Training is under way</button>" in page and "holds it back:</span> Training" in page and "lets it:</span>" in page
    token = csrf_of(page)
    assert client.post("/cancel", data={"csrf_token": token}).location == "/"
    assert client.get("/api/retraining/history?limit=1").json["runs"][0]["error"] == "Cancelled by engineer."
    client.post("/cancel", data={"csrf_token": token})
    assert "No training is under way." in client.get("/").text


def test_without_a_run_the_stream_says_so_and_ends(client: FlaskClient, filled: Project) -> None:
    answer = client.get("/api/retraining/events")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert "event: idle" in answer.text


def test_progress_is_streamed_to_few_and_threads_are_left_for_others(
    settings: Settings, database: Database, filled: Project, bearer: dict[str, str]
) -> None:
    base = f"http://127.0.0.1:{settings.console_port}/api/retraining"
    with serving(settings, "console"):
        run = requests.post(f"{base}/trigger", headers=bearer, timeout=10).json()["run"]
        streams = [_follow(base, bearer) for _ in range(progress.SEATS)]
        events = [_events(stream) for stream in streams]
        assert [next(mine)[1]["status"] for mine in events] == ["queued"] * progress.SEATS
        crowded = requests.get(f"{base}/events", headers=bearer, timeout=10)
        assert (crowded.status_code, crowded.json()["error"]["code"]) == (429, "backpressure")
        assert "Retry-After" in crowded.headers
        assert requests.get(f"{base}/status", headers=bearer, timeout=10).json()["run"] == run

        streams.pop().close()  # who leaves makes room
        _until(lambda: _sits(base, bearer))
        _set(database, run, status="training", percent=41.0, metrics={"progress": {"epoch": 3, "epochs": 9, "eta_seconds": 60}})
        name, data = next(events[0])
        assert (name, data["percent"], data["epoch"], data["eta_seconds"]) == ("progress", 41.0, 3, 60)
        _set(database, run, status="promoted", percent=100.0, finished_at=utcnow())
        assert [list(mine)[-1][0] for mine in events[:2]] == ["end", "end"], "a stream ends with its run"
        for stream in streams:
            stream.close()


def _follow(base: str, bearer: dict[str, str]) -> requests.Response:
    return requests.get(f"{base}/events", headers=bearer, stream=True, timeout=30)


def _sits(base: str, bearer: dict[str, str]) -> bool:
    with _follow(base, bearer) as answer:
        return answer.status_code == 200


def _events(answer: requests.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    name = ""
    for line in answer.iter_lines(decode_unicode=True):
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)


def _set(database: Database, run_id: int, **values: Any) -> None:
    with database.write() as session:
        row = session.get_one(TrainingRun, run_id)
        for name, value in values.items():
            setattr(row, name, value)


def _until(reached: Any) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.2)
