"""Requests made from the description of the REST API: each answer is as described, and none is a failure of ours."""

from __future__ import annotations

import secrets
from collections import Counter

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip

from console.api.openapi import describe
from console.web import create_app
from tests.fixtures.doors import open_door
from tests.fixtures.line import TOKEN, Line
from tests.fixtures.place import CAPTURES, Place, opened

COUNT = 3  # of each request and mode
BEARER = {"Authorization": f"Bearer {TOKEN}"}
WHO = {"who": "anna@plant.example", "why": "as seen"}
BOXES = [{"label": "open", "box": [1, 2, 30, 40.5]}]
DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture
def place(line: Line) -> Place:
    return opened(line)


@pytest.fixture
def app(place: Place) -> Flask:
    """The console, whose line to Label Studio leads to the twin."""
    app = create_app(place.line.settings.model_copy(update={"console_password": SecretStr("for tests")}))
    vars(app.extensions["labelwheel"])["label_studio"] = place.twin
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = BEARER["Authorization"]
    return client


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described(app: Flask, mode: GenerationMode) -> None:
    number, seen = secrets.randbits(32), Counter[int]()
    print(f"seed {number}")
    with open_door(app) as visits:
        for operation in [found.ok() for found in openapi.from_dict(describe()).get_all_operations()]:
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue  # any text is a path: there is nothing to negate

            @seed(number)
            @settings(max_examples=COUNT, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode), st.integers(1, CAPTURES + 1))
            def ask(case: Case, item: int) -> None:
                if "item" in (case.path_parameters or {}):
                    case.path_parameters["item"] = item  # else there is hardly one of that number
                answer = case.call(base_url=visits.url, headers=BEARER, timeout=30)
                case.validate_response(answer, checks=DESCRIBED)
                seen[answer.status_code] += 1

            ask()
    assert seen[200] > 0 if mode is GenerationMode.POSITIVE else seen[422] > 0, seen


def test_an_item_is_answered_judged_and_shown_and_the_second_is_told(client: FlaskClient, place: Place) -> None:
    first, second, *_ = (item["id"] for item in client.get("/api/labeling-queue?limit=500").json["items"])
    address = f"/api/labeling-queue/{first}"
    said = client.post(f"{address}/label", json={**WHO, "boxes": BOXES, "lead_time": 3})
    assert (said.status_code, said.json["status"], said.json["labels"][0]["annotator"]) == (200, "approved", WHO["who"])
    assert client.post(f"{address}/label", json={**WHO, "boxes": BOXES, "lead_time": 3}).json == said.json == client.get(address).json
    late = client.post(f"{address}/label", json={**WHO, "who": "bob", "boxes": []})
    assert (late.status_code, late.json["error"]["code"], late.json["item"]) == (409, "answered", said.json)
    assert WHO["who"] in late.json["error"]["message"] and "approved" in late.json["error"]["cure"]
    assert client.post(f"{address}/reject", json=WHO).json["status"] == "rejected"
    assert client.post(f"{address}/approve", json={**WHO, "status": "rejected"}).json["status"] == "approved"
    assert client.post(f"/api/labeling-queue/{second}/skip", json=WHO).json["status"] == "skipped"
    assert [row["was_cancelled"] for row in place.rows()] == [False, True]
    picture = client.get(f"/api/images/{said.json['image']}")
    assert (picture.status_code, picture.mimetype, len(picture.data) > 99) == (200, "image/png", True)
    assert client.get(f"/api/images/{'0' * 64}").status_code == 404
    archive = client.get("/api/labeling-queue/export")
    assert (archive.mimetype, archive.data[:2]) == ("application/zip", b"PK")


def test_a_retry_after_a_correction_is_told_how_to_insist(client: FlaskClient) -> None:
    address = f"/api/labeling-queue/{client.get('/api/labeling-queue').json['items'][0]['id']}/label"
    first = {**WHO, "boxes": BOXES, "status": "pending"}
    corrected = [client.post(address, json=said) for said in (first, {"who": "bert", "boxes": [], "status": "approved"})][-1]
    lost = client.post(address, json=first)
    assert (lost.status_code, lost.json["error"]["code"], lost.json["item"]) == (409, "answered", corrected.json)
    said = client.post(address, json={**first, "status": lost.json["item"]["status"], "again": lost.json["again"]})
    assert (said.status_code, said.json["labels"][0]["annotator"]) == (200, WHO["who"])


MISFITS: list[tuple[object, str]] = [
    ({}, "who"),
    ({"who": ""}, "who"),
    ({"who": "a\nb"}, "who"),
    ({"who": "anna"}, "boxes"),
    ({"who": "anna", "boxes": [], "lead_time": -1}, "lead_time"),
    ({"who": "anna", "boxes": [], "lead_time": "3"}, "lead_time"),
    ({"who": "anna", "boxes": [{"label": "open", "box": [1, 2, 3]}]}, "boxes.0.box"),
    ({"who": "anna", "boxes": [{"label": "open", "box": [1, 2, 3, 1e999]}]}, "boxes.0.box.3"),
    ({"who": "anna", "boxes": [], "color": "red"}, "color"),
    ({"who": "anna", "boxes": [], "status": "done"}, "status"),
    ([], "body"),
]


def test_bodies_that_do_not_fit_are_refused_by_name(client: FlaskClient, place: Place) -> None:
    for body, named in MISFITS:
        answer = client.post("/api/labeling-queue/1/label", json=body)
        assert (answer.status_code, answer.json["error"]["code"]) == (422, "bad_body"), body
        assert named in answer.json["error"]["message"]
    assert place.rows() == []
