"""Each endpoint on an empty and on a filled database, and the shape of each refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from console.api import drift as drift_api
from console.web import create_app
from labelwheel.database import Database
from labelwheel.database.tables import ClassMap, Deployment, ModelVersion, Project, TrainingRun
from labelwheel.settings import Settings
from tests.fixtures import wheel
from tests.integration.console.test_doors import log_in

GETS = [
    "/api/retraining/status", "/api/retraining/conditions", "/api/retraining/history", "/api/labeling-queue", "/api/labeling-queue/stats",
    "/api/metrics/drift", "/api/metrics/corrections?by=model", "/api/overview", "/api/door", "/api/predictions/requests",
]  # fmt: skip


@pytest.fixture
def client(app: Flask, bearer: dict[str, str]) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = bearer["Authorization"]
    return client


@pytest.mark.parametrize("path", GETS)
def test_without_a_project_every_answer_names_the_cure(client: FlaskClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert answer.json["error"]["code"] == "not_found"
    assert "labelwheel up" in answer.json["error"]["cure"]


@pytest.mark.parametrize("path", GETS)
def test_an_empty_project_has_an_answer(client: FlaskClient, project: Project, path: str) -> None:
    assert client.get(path).status_code == 200


def test_queue_lists_filters_and_counts(client: FlaskClient, filled: Project) -> None:
    stats = client.get("/api/labeling-queue/stats").json
    assert stats["by_status"]["pushed"] == 24
    assert stats["by_reason"]["audit"] == {"pending": 2, "pushed": 4, "approved": 11, "rejected": 1}
    items = client.get("/api/labeling-queue?limit=500&status=pushed&reason=drift").json["items"]
    assert [(item["status"], item["reason"]) for item in items] == [("pushed", "drift")] * 6
    priorities = [item["priority"] for item in client.get("/api/labeling-queue?limit=10").json["items"]]
    assert len(priorities) == 10
    assert priorities == sorted(priorities, reverse=True)


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/api/labeling-queue?limit=0", "limit"),
        ("/api/labeling-queue?limit=501", "limit"),
        ("/api/labeling-queue?limit=many", "limit"),
        ("/api/labeling-queue?status=done", "status"),
        ("/api/labeling-queue?reason=mood", "reason"),
        ("/api/labeling-queue?sort=asc", "sort"),
        ("/api/retraining/history?limit=-1", "limit"),
    ],
)
def test_queries_that_do_not_fit_are_refused_by_name(client: FlaskClient, filled: Project, path: str, named: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422
    assert answer.json["error"]["code"] == "bad_query"
    assert named in answer.json["error"]["message"]


def test_trigger_starts_one_run_and_refuses_the_second(client: FlaskClient, filled: Project, database: Database) -> None:
    first, second = client.post("/api/retraining/trigger"), client.post("/api/retraining/trigger")
    assert (first.status_code, second.status_code) == (202, 409)
    assert second.json["error"]["code"] == "conflict"
    assert client.get(first.headers["Location"]).status_code == 200
    with database.read() as session:
        run = session.get(TrainingRun, first.json["run"])
        assert run is not None and run.cause == "manual"
        assert session.scalar(select(func.count(TrainingRun.id)).where(TrainingRun.status == "queued")) == 1
    assert client.get("/api/overview").json["run"]["id"] == first.json["run"]


def test_without_a_label_nothing_is_triggered(client: FlaskClient, project: Project, database: Database) -> None:
    answer = client.post("/api/retraining/trigger")
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "conflict")
    assert "no approved label" in answer.json["error"]["message"] and answer.json["error"]["cure"]
    with database.read() as session:
        assert session.scalar(select(func.count(TrainingRun.id))) == 0


def test_history_is_newest_first_and_limited(client: FlaskClient, filled: Project) -> None:
    runs = client.get("/api/retraining/history").json["runs"]
    assert len(runs) == 2
    assert len(client.get("/api/retraining/history?limit=1").json["runs"]) == 1


def test_conditions_are_reasons_in_words(client: FlaskClient, filled: Project) -> None:
    reasons = client.get("/api/retraining/conditions").json["reasons"]
    assert reasons
    assert all(isinstance(reason["text"], str) and isinstance(reason["met"], bool) for reason in reasons)


def test_drift_shows_series_state_and_alert(client: FlaskClient, filled: Project) -> None:
    shift = client.get("/api/metrics/drift").json
    states = {source["source"]: source["features"][0]["state"] for source in shift["sources"]}
    assert states == {"line-a": "calm", "line-b": "calm", "line-c": "alert"}
    assert [point["score"] for point in shift["sources"][2]["features"][0]["series"]][-1] == 1.9
    assert [alert["source"] for alert in shift["alerts"]] == ["line-c"]


def test_models_that_tags_name_stand_beside_the_champion(client: FlaskClient, filled: Project, database: Database) -> None:
    assert client.get("/api/overview").json["model"]["beside"] == []
    with database.write() as session:
        class_map = session.scalars(select(ClassMap)).first()
        assert class_map is not None
        model = ModelVersion(
            project_id=filled.id, name="grade", version=3, onnx_uri="g.onnx", onnx_sha256="0" * 64, weights_uri="", class_map_id=class_map.id,
            task="classify", labels=["good"],
        )  # fmt: skip
        session.add(Deployment(project_id=filled.id, tag="grade", role="candidate", model_version=model, served_as="grade@3"))
        choices = '<Choices name="g" toName="image" model="grade@candidate"><Choice value="good"/></Choices>'
        session.get_one(Project, filled.id).label_config = f'<View><Image name="image" value="$image"/>{choices}</View>'
    beside = client.get("/api/overview").json["model"]["beside"]
    assert beside == [{"slot": "grade@candidate", "title": "grade@3", "task": "classify"}]
    log_in(client)
    assert "Tags that name grade@candidate show grade@3 (classify)." in client.get("/").text


def test_overview_adds_up(client: FlaskClient, filled: Project) -> None:
    view = client.get("/api/overview").json
    values = {station["name"]: station["value"] for station in view["wheel"]}
    assert values == {
        "Captures": "120",
        "Queue": "14",
        "Label Studio": "24",
        "Labels": "43",
        "Training": "2",
        "Gate": "pass",
        "Model": "v2",
    }
    assert (view["model"]["map50_before"], view["model"]["map50"]) == (0.418, 0.563)
    assert view["project"]["label_studio_url"] == f"{wheel.LABEL_STUDIO}/projects/7/data"
    assert [event["at"] for event in view["events"]] == sorted((event["at"] for event in view["events"]), reverse=True)


def test_overview_says_unchanged_until_it_changes(client: FlaskClient, filled: Project) -> None:
    tag = client.get("/api/overview").headers["ETag"]
    assert client.get("/api/overview", headers={"If-None-Match": tag}).status_code == 304
    client.post("/api/retraining/trigger")
    assert client.get("/api/overview", headers={"If-None-Match": tag}).status_code == 200


def test_refusals_have_one_shape(client: FlaskClient, filled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr(drift_api, "metrics", broken)
    answers = {
        404: client.get("/api/nothing"),
        405: client.delete("/api/overview"),
        422: client.get("/api/labeling-queue?limit=x"),
        500: client.get("/api/metrics/drift"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert set(answer.json) == {"error"}
        assert set(answer.json["error"]) == {"code", "message", "cure"}
        assert "secret detail" not in answer.text and "Traceback" not in answer.text
    assert "GET" in answers[405].headers["Allow"]


def test_health_needs_no_login_and_tells_when_the_database_is_gone(app: Flask, tmp_path: Path) -> None:
    assert app.test_client().get("/health").json == {"status": "ok", "database": "ok"}
    state = app.extensions["labelwheel"]
    app.extensions["labelwheel"] = type(state)(state.settings, Database(f"sqlite:///{tmp_path}"))  # a folder
    answer = app.test_client().get("/health")
    assert answer.status_code == 503
    assert answer.json["error"]["code"] == "database_unreachable"


def test_the_door_says_what_is_stored_and_which_bound_is_reached(
    client: FlaskClient, filled: Project, settings: Settings, bearer: dict[str, str]
) -> None:
    found = client.get("/api/door").json
    assert (found["open"], found["refusal"], found["pending"], found["images"], found["expired_images"]) == (True, None, 14, 120, 0)
    full = create_app(settings.model_copy(update={"pending_max": 14})).test_client().get("/api/door", headers=bearer).json
    assert (full["open"], full["refusal"]["code"], full["pending_max"]) == (False, "queue_full", 14)
    assert full["refusal"]["cure"]
