"""Requests made from the description of the REST API: each answer is as described, and none is a failure of ours."""

from __future__ import annotations

import secrets
from collections import Counter

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip

from console.api.openapi import describe
from labelwheel.database.tables import Project
from tests.fixtures.doors import open_door

COUNT = 5  # of each request and mode
DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_answers_are_as_described(app: Flask, filled: Project, bearer: dict[str, str], mode: GenerationMode) -> None:
    number, seen = secrets.randbits(32), Counter[int]()
    print(f"seed {number}")
    with open_door(app) as visits:
        for operation in [found.ok() for found in openapi.from_dict(describe()).get_all_operations()]:
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue  # any text is a path: there is nothing to negate

            @seed(number)
            @settings(max_examples=COUNT, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
            @given(operation.as_strategy(generation_mode=mode))
            def ask(case: Case) -> None:
                answer = case.call(base_url=visits.url, headers=bearer, timeout=30)
                case.validate_response(answer, checks=DESCRIBED)
                seen[answer.status_code] += 1

            ask()
    assert seen[200] > 0 if mode is GenerationMode.POSITIVE else seen[422] > 0, seen
