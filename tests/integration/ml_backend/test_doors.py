"""Every door of ml_backend, on a real database and a real ONNX model: who may enter, what is refused, and in which shape."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from redis import Redis
from sqlalchemy import func, select
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from labelwheel import serving
from labelwheel.database import Database
from labelwheel.database.tables import Capture, Hint, Image, Prediction
from labelwheel.image_url import image_url
from labelwheel.project import remember_project
from labelwheel.queue import get_queue
from ml_backend.app import create_app
from ml_backend.auth import WEBHOOK_HEADER
from tests.fixtures.label_studio import LABEL_CONFIG
from tests.fixtures.line import BASIC_PASSWORD, LABELS, LS_PROJECT, TOKEN, WEBHOOK_SECRET, Line, line_settings, picture

OPEN_ROUTES = {"/health"}


def basic(password: str = BASIC_PASSWORD, user: str = "label-studio") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def calls(line: Line) -> list[tuple[str, str]]:
    """Every (method, path) that the app answers, with something in each placeholder."""

    def path(rule: Rule) -> str:
        return re.sub("<[^>]*>", "something", rule.rule)

    return [(method, path(rule)) for rule in line.app.url_map.iter_rules() for method in rule.methods - {"HEAD", "OPTIONS"}]


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def refused(answer: TestResponse, status: int, code: str) -> str:
    """Check the one shape of errors; the message with its cure."""
    assert answer.status_code == status
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"code", "message", "cure"}
    assert answer.json["error"]["code"] == code
    return f"{answer.json['error']['message']} {answer.json['error']['cure']}"


# who may enter


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, basic("wrong"), basic(user="admin"), {WEBHOOK_HEADER: "wrong"}])
def test_no_route_but_health_opens_without_its_secret(line: Line, headers: dict[str, str]) -> None:
    answers = {path: line.client.open(path, method=method, headers=headers, json={}) for method, path in calls(line)}
    assert {path for path, answer in answers.items() if answer.status_code < 400} == OPEN_ROUTES
    closed = {path: answer for path, answer in answers.items() if path not in OPEN_ROUTES and not path.startswith("/images/")}
    assert closed
    for answer in closed.values():
        refused(answer, 401, "unauthorized")
        assert "WWW-Authenticate" in answer.headers
    refused(answers["/images/something"], 404, "not_found")  # the signature is the permission


def test_a_secret_that_was_never_set_opens_nothing(line: Line) -> None:
    names = ("api_token", "webhook_secret", "ml_backend_password")
    app = create_app(line.settings.model_copy(update=dict.fromkeys(names, type(line.settings.api_token)(""))))
    for headers in ({"Authorization": "Bearer "}, {WEBHOOK_HEADER: ""}, basic("")):
        answers = [app.test_client().open(path, method=method, headers=headers) for method, path in calls(line) if path not in OPEN_ROUTES]
        assert {answer.status_code for answer in answers} == {401, 404}


def test_one_door_is_not_opened_by_the_key_of_another(line: Line) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert line.client.post("/inspect", headers=basic()).status_code == 401
    assert line.client.post("/predict", headers=bearer, json={}).status_code == 401
    assert line.client.post("/webhook", headers=bearer, json={}).status_code == 401


def test_health_says_up(line: Line) -> None:
    answer = line.client.get("/health")
    assert (answer.status_code, answer.json["status"]) == (200, "UP")


@pytest.mark.parametrize("headers", [basic(), {"Authorization": f"Bearer {TOKEN}"}])
def test_every_door_is_described(line: Line, headers: dict[str, str]) -> None:
    described = line.client.get("/openapi.json", headers=headers).json["paths"]
    doors = {(method.lower(), re.sub("<(.*?)>", r"{\1}", rule.rule)) for rule in line.app.url_map.iter_rules() for method in rule.methods}
    assert {(method, path) for path, methods in described.items() for method in methods} == {
        (method, path) for method, path in doors if method not in ("head", "options")
    }


def test_json_too_deep_to_read_is_refused(line: Line) -> None:
    answer = line.client.post("/predict", data="[" * 5000, content_type="application/json", headers=basic())
    refused(answer, 400, "bad_input")


def test_what_is_not_there_is_refused_in_the_same_shape(line: Line) -> None:
    refused(line.client.get("/nothing"), 404, "not_found")
    answer = line.client.get("/predict")
    assert "Allow" in refused(answer, 405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


def test_any_authorization_header_is_answered(line: Line) -> None:
    @given(st.text(st.characters(max_codepoint=255, blacklist_categories=["Cc"]), max_size=30), st.sampled_from(["", "Basic ", "Bearer "]))
    @settings(max_examples=40, phases=[Phase.generate])
    def ask(text: str, kind: str) -> None:
        headers = {"Authorization": kind + text, WEBHOOK_HEADER: text}
        assert [line.client.post(path, headers=headers).status_code for path in ("/inspect", "/predict", "/webhook")] == [401] * 3

    ask()


# the camera's door


def test_a_capture_is_stored_and_answered_with_what_the_champion_sees(line: Line) -> None:
    line.deploy(0.9, 0.5, 0.1)
    answer = line.inspect(1)
    assert answer.status_code == 201
    body = answer.json
    assert (body["source"], body["external_id"], body["width"], body["height"]) == ("line-a", "c-1", 96, 64)
    assert body["model_version"] == "labelwheel@1"
    assert [(found["label"], found["confidence"]) for found in body["detections"]] == [("open", 0.9), ("open", 0.5)]
    with line.database.read() as session:
        capture = session.scalars(select(Capture)).one()
        prediction = session.scalars(select(Prediction)).one()
        assert line.store.read(capture.image.uri) == picture(1)
    assert capture.captured_at.isoformat() == "2026-11-23T06:00:00+00:00"
    assert (prediction.count, len(prediction.detections), prediction.top_confidence) == (2, 3, pytest.approx(0.9))


def test_a_capture_sent_again_is_answered_the_same_again(line: Line) -> None:
    line.deploy(0.9)
    first, again = line.inspect(1), line.inspect(1)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert (count(line.database, Capture), count(line.database, Prediction)) == (1, 1)


def test_equal_bytes_of_another_arrival_share_the_image_and_its_prediction(line: Line) -> None:
    line.deploy(0.9)
    line.inspect(1, "c-1")
    assert line.inspect(1, "c-2").status_code == 201
    assert [count(line.database, table) for table in (Capture, Image, Prediction)] == [2, 1, 1]


def test_other_bytes_under_a_known_id_are_a_conflict(line: Line) -> None:
    line.inspect(1, "c-1")
    assert "c-1" in refused(line.inspect(2, "c-1"), 409, "conflict")
    with line.database.read() as session:
        assert session.scalars(select(Capture)).one().image_id == 1


def test_without_a_model_nothing_is_claimed(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "LOOK_SECONDS", 3600)
    body = line.inspect(1).json
    assert (body["model_version"], body["detections"]) == (None, None)
    line.deploy()
    assert line.inspect(2).json["detections"] is None, "the door looks for deployments now and then"


def test_a_model_that_sees_nothing_says_so(line: Line) -> None:
    line.deploy(0.01)
    assert line.inspect(1).json["detections"] == []


@pytest.mark.parametrize(
    ("form", "named"),
    [
        ({"source": None}, "source"),
        ({"source": "   "}, "source"),
        ({"source": "x" * 101}, "source"),
        ({"external_id": ""}, "external_id"),
        ({"captured_at": "yesterday"}, "captured_at"),
        ({"captured_at": "0001-01-01T00:00:00+05:00"}, "captured_at"),
        ({"source": "a\x00b"}, "source"),
        ({"image": None}, "image"),
    ],
)
def test_a_capture_that_lacks_something_is_refused_by_its_name(line: Line, form: dict[str, Any], named: str) -> None:
    line.inspect(9)
    form = {"external_id": "c-1", **form} if "external_id" not in form else form
    fields = {"source": "line-a", "image": (BytesIO(picture(1)), "image.png"), **form}
    sent = {name: value for name, value in fields.items() if value is not None}
    answer = line.client.post("/inspect", data=sent, headers={"Authorization": f"Bearer {TOKEN}"})
    assert named in refused(answer, 400, "bad_input")
    assert count(line.database, Capture) == 1


@pytest.mark.parametrize("data", [b"", b"no image", picture(1)[:100]])
def test_bytes_that_are_no_image_are_refused_and_not_kept(line: Line, data: bytes) -> None:
    refused(line.inspect(1, image=(BytesIO(data), "image.png")), 400, "bad_image")
    assert count(line.database, Image) == 0
    assert not line.store.root.exists()


def test_too_large_is_refused(line: Line) -> None:
    bomb = picture(1, 1200, 1200)  # few bytes, many pixels
    assert len(bomb) < line.settings.max_image_bytes
    assert "MAX_IMAGE_PIXELS" in refused(line.inspect(1, image=(BytesIO(bomb), "i.png")), 400, "bad_image")
    heavy = picture(1) + bytes(line.settings.max_image_bytes)
    assert "MAX_IMAGE_BYTES" in refused(line.inspect(1, image=(BytesIO(heavy), "i.png")), 400, "bad_image")
    flood = bytes(line.settings.max_image_bytes + 2 * 2**20)
    refused(line.inspect(1, image=(BytesIO(flood), "i.png")), 413, "request_entity_too_large")


def test_a_door_without_a_project_says_what_to_do(line: Line) -> None:
    stranger = create_app(line_settings(line.settings.home, label_studio_project="Another"))
    assert "labelwheel up" in refused(line.inspect(1, client=stranger.test_client()), 404, "not_found")
    assert stranger.test_client().post("/setup", json={}, headers=basic()).json == {"model_version": None}


def test_audit_and_split_follow_from_the_bytes(line: Line) -> None:
    audited = create_app(line.settings.model_copy(update={"audit_rate": 0.5, "holdout_rate": 0.5})).test_client()
    for seed in range(12):
        line.inspect(seed, f"first-{seed}", client=audited)
        line.inspect(seed, f"second-{seed}", client=audited)
    with line.database.read() as session:
        drawn = {row.external_id: (row.split, row.audit) for row in session.scalars(select(Capture))}
    assert [drawn[f"first-{seed}"] for seed in range(12)] == [drawn[f"second-{seed}"] for seed in range(12)]
    assert len(set(drawn.values())) > 1


# signed images


def test_a_signed_address_leads_to_the_bytes_and_a_canvas_may_read_them(line: Line) -> None:
    line.inspect(1)
    signed = line.settings.model_copy(update={"image_urls": "signed", "ml_backend_public_url": ""})
    with line.database.read() as session:
        uri = session.scalars(select(Image.uri)).one()
    answer = line.client.get(image_url(uri, signed))
    assert (answer.data, answer.mimetype) == (picture(1), "image/png")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    refused(line.client.get(image_url("../labelwheel.db", signed)), 404, "not_found")


# the webhook's door

WEBHOOKS: list[tuple[str, dict[str, Any], list[int]]] = [
    ("ANNOTATION_CREATED", {"annotation": {"id": 4, "task": 9, "was_cancelled": False}, "task": {"id": 9}}, [9]),
    ("ANNOTATION_UPDATED", {"annotation": {"id": 4, "task": 9, "ground_truth": True}, "task": {"id": 9}}, [9]),
    ("ANNOTATIONS_CREATED", {"annotation": [{"id": 4}, {"id": 5}], "task": [{"id": 9}, {"id": 3}]}, [3, 9]),
    ("ANNOTATIONS_DELETED", {"annotations": [{"id": 4}]}, []),
    ("ANNOTATION_DELETED", {"annotation": {"id": 4}}, []),
    ("TASKS_DELETED", {"tasks": [{"id": 9}]}, [9]),
    ("TASKS_CREATED", {"tasks": [{"id": 9, "data": {"image": "of others"}}]}, [9]),
    ("PROJECT_UPDATED", {}, []),
]


def webhook(client: FlaskClient, body: Any, secret: str = WEBHOOK_SECRET) -> TestResponse:
    return client.post("/webhook", json=body, headers={WEBHOOK_HEADER: secret})


@pytest.mark.parametrize(("action", "body", "tasks"), WEBHOOKS, ids=[action for action, _, _ in WEBHOOKS])
def test_a_webhook_becomes_a_hint(line: Line, action: str, body: dict[str, Any], tasks: list[int]) -> None:
    assert webhook(line.client, {"action": action, "project": {"id": LS_PROJECT, "token": "x"}, **body}).status_code == 202
    with line.database.read() as session:
        hint = session.scalars(select(Hint)).one()
    assert (hint.action, hint.task_ids, hint.handled_at) == (action, tasks, None)


@pytest.mark.parametrize(
    "body",
    [
        {"action": "TASKS_CREATED", "tasks": [{"id": 9, "data": {"labelwheel_key": "k"}}], "project": {"id": LS_PROJECT}},
        {"action": "TASK_CREATED", "task": {"id": 9, "data": {"labelwheel_key": "k"}}, "project": {"id": LS_PROJECT}},
        {"action": "ANNOTATION_CREATED", "project": {"id": LS_PROJECT + 1}},
        {"action": "START_TRAINING", "project": {"id": LS_PROJECT + 1}},
    ],
)
def test_our_own_pushes_and_other_projects_are_no_hints(line: Line, body: dict[str, Any]) -> None:
    assert webhook(line.client, body).status_code == 200
    assert count(line.database, Hint) == 0


def test_start_training_asks_for_a_run_once(line: Line, bell: Redis) -> None:
    call = {"action": "START_TRAINING", "project": {"id": LS_PROJECT}}
    assert [line.client.post("/webhook", json=call, headers=basic()).status_code for _ in range(2)] == [202, 202]
    assert get_queue("fast").get_job_ids() == ["retrain-start"]
    assert count(line.database, Hint) == 0


def test_start_training_is_refused_while_nobody_would_hear(line: Line) -> None:
    refused(line.client.post("/webhook", json={"action": "START_TRAINING"}, headers=basic()), 503, "queue_unreachable")


def test_a_webhook_with_a_wrong_secret_leaves_no_trace(line: Line) -> None:
    refused(webhook(line.client, {"action": "ANNOTATION_CREATED", "project": {"id": LS_PROJECT}}, "wrong"), 401, "unauthorized")
    assert count(line.database, Hint) == 0


@pytest.mark.parametrize("body", [[], None, {}, {"action": 5}, {"action": "\ud800"}, {"action": "a\x00"}, "text"])
def test_a_webhook_of_another_shape_is_refused(line: Line, body: Any) -> None:
    refused(webhook(line.client, body), 400, "bad_input")


# Label Studio's protocol


def predict(line: Line, body: dict[str, Any]) -> Any:
    given = {"project": f"{LS_PROJECT}.1795455501", "params": {"login": None, "password": None, "context": None}, **body}
    answer = line.client.post("/predict", json=given, headers=basic())
    assert answer.status_code == 200, answer.json
    return answer.json["results"]


def stored(line: Line, seeds: range) -> list[str]:
    for seed in seeds:
        line.inspect(seed)
    with line.database.read() as session:
        return list(session.scalars(select(Image.uri).order_by(Image.id)))


def test_setup_answers_the_very_version_that_predictions_carry(line: Line) -> None:
    ask = {
        "project": f"{LS_PROJECT}.1795455501",
        "schema": "<View/>",
        "hostname": "http://127.0.0.1:8080",
        "access_token": "x",
        "extra_params": None,
    }
    assert line.client.post("/setup", json=ask, headers=basic()).json == {"model_version": None}
    line.deploy(0.9)
    version = line.client.post("/setup", json=ask, headers=basic()).json["model_version"]
    (uri,) = stored(line, range(1))
    assert predict(line, {"tasks": [line.task(1, uri)]})[0][0]["model_version"] == version == "labelwheel@1"
    assert line.client.get("/versions", headers=basic()).json == {"versions": ["labelwheel@1"]}


def test_a_batch_keeps_its_order_and_one_bad_task_spoils_none(line: Line) -> None:
    line.deploy(0.9, 0.5, 0.1)
    uris = stored(line, range(4))
    (line.store.root / uris[2]).write_bytes(b"damaged")
    with line.database.write() as session:
        session.query(Prediction).filter(Prediction.image_id == 3).delete()
    tasks = [line.task(n, uri) for n, uri in enumerate(uris)]
    strangers = [
        {"id": 7, "data": {"image": "https://elsewhere.example/cat.jpg"}},
        {"id": 8, "data": {}},
        {"id": 9},
        {"id": 10, "data": None},
        {"id": 11, "data": ["image"]},
    ]
    results = predict(line, {"tasks": [*tasks, *strangers]})
    assert [len(entry) for entry in results] == [1, 1, 0, 1, 0, 0, 0, 0, 0]
    assert {entry[0]["score"] for entry in results if entry} == {0.7}
    regions = results[0][0]["result"]
    assert [(region["from_name"], region["to_name"], region["value"]["rectanglelabels"]) for region in regions] == [
        ("label", "image", ["open"])
    ] * 2


def test_each_task_gets_what_was_seen_on_its_own_image(line: Line) -> None:
    line.deploy(0.9)
    uris = stored(line, range(3))
    with line.database.write() as session:
        for prediction, confidence in zip(session.scalars(select(Prediction).order_by(Prediction.image_id)), (0.3, 0.6, 0.8), strict=True):
            prediction.detections = [{"label": "open", "box": [0, 0, 9, 9], "confidence": confidence}]
    results = predict(line, {"tasks": [line.task(n, uris[n]) for n in (2, 0, 1, 0)]})
    assert [entry[0]["score"] for entry in results] == [0.8, 0.3, 0.6, 0.3]


def test_an_unknown_project_gets_nothing_stored(either_line: Line) -> None:
    either_line.deploy(0.9)
    (uri,) = stored(either_line, range(1))
    for number in ("99", "999999999", "3000000000", "9" * 30):  # those beyond 2³¹ fit no column of PostgreSQL's
        assert predict(either_line, {"project": f"{number}.1795455501", "tasks": [either_line.task(1, uri)] * 2}) == [[], []]


def test_projects_are_answered_side_by_side_each_by_its_own_models(line: Line) -> None:
    with line.database.write() as session:
        other = remember_project(session, line.settings.label_studio_name, LS_PROJECT + 1, "Another", LABEL_CONFIG, LABELS)
    line.deploy(0.9)
    replace(line, project=other).deploy(0.5, 0.5)
    replace(line, project=other).deploy(0.4, 0.3)
    task = {"id": 1, "data": {"image": "data:image/png;base64," + base64.b64encode(picture(1)).decode()}}
    for number, version, score in ((LS_PROJECT, "labelwheel@1", 0.9), (LS_PROJECT + 1, "labelwheel@2", 0.35)) * 2:
        said = predict(line, {"project": f"{number}.1795455501", "tasks": [task]})[0][0]
        setup = line.client.post("/setup", json={"project": f"{number}.1795455501"}, headers=basic()).json
        assert (said["model_version"], setup["model_version"], said["score"]) == (version, version, pytest.approx(score))


def test_without_a_model_nothing_is_stored(line: Line) -> None:
    (uri,) = stored(line, range(1))
    assert predict(line, {"tasks": [line.task(1, uri)]}) == [[]]
    assert predict(line, {"tasks": []}) == []


def test_an_interactive_request_is_answered_with_an_object(line: Line) -> None:
    line.deploy(0.9)
    (uri,) = stored(line, range(1))
    context = {"params": {"context": {"result": [{"type": "rectanglelabels"}]}}}
    (known,) = predict(line, {"tasks": [line.task(1, uri)], **context})
    (unknown,) = predict(line, {"tasks": [{"id": 2, "data": {}}], **context})
    assert len(known["result"]) == 1
    assert unknown == {"result": []}


def test_predictions_are_computed_once(line: Line) -> None:
    (uri,) = stored(line, range(1))
    line.deploy(0.9)
    app = create_app(line.settings)  # has not looked for deployments yet
    body = {"project": str(LS_PROJECT), "tasks": [line.task(1, uri)] * 3}
    answers = [app.test_client().post("/predict", json=body, headers=basic()).json for _ in range(2)]
    assert answers[0] == answers[1]
    assert count(line.database, Prediction) == 1


@pytest.mark.parametrize("body", [[], None, {"tasks": None}, {"tasks": {}}, {"tasks": [1]}, {"tasks": [], "label_config": "<View/>"}])
def test_a_request_of_another_shape_is_refused(line: Line, body: Any) -> None:
    refused(line.client.post("/predict", json=body, headers=basic()), 400, "bad_input")
