"""Malformed requests against the real server: none is a 500, none hangs, each refusal has the one shape, and memory does not grow.

Two sources: what schemathesis makes of our OpenAPI description, and our own strategies, which know what Label Studio and cameras send.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO

import psutil
import pytest
import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, openapi
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)  # fmt: skip
from sqlalchemy import select

from labelwheel.database.tables import Image
from labelwheel.image_url import image_url
from labelwheel.settings import Settings
from ml_backend.openapi import describe
from tests.fixtures import figures
from tests.fixtures.label_studio import free_port
from tests.fixtures.line import BASIC_PASSWORD, LS_PROJECT, TOKEN, Line, picture
from tests.fixtures.malformed import KEYS, PREDICT, dumps, malformed, spoilable
from tests.fixtures.served import serving
from tests.fixtures.wire import ANSWER_SECONDS, Reply, Shot, connection, read, request, shoot

THREADS, CLIENTS, ROUND = 4, 4, 250
PARTS, GROWTH_MB = 4, 5.0  # of the last part, some 3,700 requests
DESCRIBED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@dataclass
class Door:
    """The server under fire: its settings, its process, a picture that it knows, and what was sent to it so far."""

    settings: Settings
    process: psutil.Process
    good: bytes
    uri: str
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    resident_mb: list[float] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")  # seconds, and the kind of request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.ml_backend_port}"

    @property
    def token(self) -> str:
        return image_url(self.uri, self.settings.model_copy(update={"image_urls": "signed"})).rpartition("/")[2]

    def note(self, kind: str, status: int, seconds: float = 0.0) -> None:
        self.kinds[kind] += 1
        self.statuses[status] += 1
        self.slowest = max(self.slowest, (round(seconds, 2), kind))

    def look(self) -> None:
        """Good requests are answered as ever; what the process holds is written down."""
        assert requests.get(f"{self.url}/health", timeout=ANSWER_SECONDS).json()["status"] == "UP"
        task = {"id": 1, "data": {"image": image_url(self.uri, self.settings)}}
        body = {**PREDICT, "tasks": [task], "project": f"{LS_PROJECT}.1"}
        answer = requests.post(f"{self.url}/predict", json=body, auth=("label-studio", BASIC_PASSWORD), timeout=ANSWER_SECONDS)
        assert answer.json()["results"][0][0]["model_version"] == "labelwheel@1"
        sent = self.inspect()
        assert (sent.status_code, len(sent.json()["detections"])) == (200, 1), sent.text
        self.resident_mb.append(round(self.process.memory_info().rss / 2**20, 1))

    def inspect(self) -> requests.Response:
        form, file = {"source": "line-a", "external_id": "good"}, {"image": ("good.png", BytesIO(self.good))}
        key = {"Authorization": f"Bearer {TOKEN}"}
        return requests.post(f"{self.url}/inspect", data=form, files=file, headers=key, timeout=ANSWER_SECONDS)


@pytest.fixture
def door(line: Line, valkey_url: str) -> Iterator[Door]:
    """A connected project with a model, behind gunicorn as `labelwheel serve ml-backend` starts it; Label Studio itself is away."""
    line.deploy(0.9)
    changes = {"max_image_bytes": 2**20, "ml_backend_threads": THREADS, "redis_url": valkey_url}
    addresses = {"ml_backend_port": free_port(), "ml_backend_public_url": "http://127.0.0.1:9090"}
    given = line.settings.model_copy(update={**changes, **addresses})
    with serving(given) as process:
        found = Door(given, process, picture(1), "")
        assert found.inspect().status_code == 201
        with line.database.read() as session:
            found.uri = session.scalars(select(Image.uri)).one()
        yield found


def test_what_is_malformed_is_refused(door: Door) -> None:
    number = secrets.randbits(32)
    print(f"seed {number}")
    by_hand(door, number, 500)
    by_description(door, number, GenerationMode.NEGATIVE, 100)
    by_description(door, number, GenerationMode.POSITIVE, 50)
    door.look()


def test_clients_that_fall_silent_do_not_end_the_service(door: Door) -> None:
    whole = request("POST", "/predict", {**KEYS["/predict"], "Content-Type": "application/json"}, dumps(PREDICT))
    heads = [whole[:1], whole[:40], whole[: whole.index(b"\r\n\r\n") + 4], whole[:-5]]
    silent(door, [heads[number % len(heads)] for number in range(THREADS)])
    silent(door, [request("GET", "/health")] * 2 * THREADS)  # they read nothing and do not hang up


@pytest.mark.prove
@pytest.mark.timeout(3600)
def test_ten_thousand_malformed_requests(door: Door) -> None:
    number = secrets.randbits(32)
    print(f"seed {number}")
    began = time.monotonic()
    for part in range(PARTS):  # alike, so that all but the last are a warm-up: allocators keep what their largest request took
        before = door.resident_mb[-1] if part else 0.0
        by_hand(door, number + part, 2500)
        by_description(door, number + part, GenerationMode.NEGATIVE, 1000)
        by_description(door, number + part, GenerationMode.POSITIVE, 200)
    silent(door, [request("POST", "/predict", KEYS["/predict"], length="100")] * THREADS)
    door.look()
    malformed = sum(count for kind, count in door.kinds.items() if kind != "described positive")
    grown = door.resident_mb[-1] - before
    found = {
        "seed": number, "malformed": malformed, "by_kind": dict(sorted(door.kinds.items())), "by_status": dict(sorted(door.statuses.items())),
        "slowest": door.slowest, "resident_mb": door.resident_mb, "grown_mb": round(grown, 1), "bound_mb": GROWTH_MB,
        "open_files": door.process.num_fds(), "threads": door.process.num_threads(), "seconds": round(time.monotonic() - began),
    }  # fmt: skip
    figures.write("prove/fuzz.json", found)
    assert malformed >= 10_000
    assert grown < GROWTH_MB


def by_hand(door: Door, number: int, count: int) -> None:
    """Our own strategies, from several clients at once."""
    shots = malformed(spoilable(), door.token)
    with ThreadPoolExecutor(CLIENTS) as clients:
        for start in range(0, count, ROUND):
            list(clients.map(lambda shot: fire(door, shot), drawn(shots, number + start, ROUND)))
            door.look()


def drawn(shots: st.SearchStrategy[Shot], number: int, count: int) -> list[Shot]:
    found: list[Shot] = []

    @seed(number)
    @settings(max_examples=count, phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
    @given(shots)
    def draw(shot: Shot) -> None:
        found.append(shot)

    draw()
    return found


def fire(door: Door, shot: Shot) -> None:
    began = time.monotonic()
    try:
        reply = shoot(door.settings.ml_backend_port, shot)
    except TimeoutError:
        pytest.fail(f"no answer to {shot}"[:5000])
    check(shot, reply)
    door.note(shot.kind, reply.status, time.monotonic() - began)


def check(shot: Shot, reply: Reply) -> None:
    said = f"{reply} to {shot}"[:5000]
    assert reply.status or shot.mute, said
    assert reply.status < 500, said
    if reply.status >= 400 and not shot.data.startswith(b"HEAD "):
        error = reply.json()
        assert set(error) == {"error"} and set(error["error"]) == {"code", "message", "cure"}, said
        assert all(isinstance(text, str) for text in error["error"].values()), said
    assert reply.status != 429 or int(reply.headers["retry-after"]) > 0, said


def by_description(door: Door, number: int, mode: GenerationMode, count: int) -> None:
    """schemathesis, whose checks hold each answer against our description."""
    operations = [found.ok() for found in openapi.from_dict(describe()).get_all_operations()]
    taking = [operation for operation in operations if operation.body]  # any text is a path: there is nothing to negate
    for operation in taking:

        @seed(number)
        @settings(max_examples=-(-count // len(taking)), phases=[Phase.generate], database=None, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            answer = case.call(base_url=door.url, headers=KEYS.get(case.operation.path, {}), timeout=ANSWER_SECONDS)
            case.validate_response(answer, checks=DESCRIBED)
            door.note(f"described {mode.value}", answer.status_code, answer.elapsed)

        ask()
    door.look()


def silent(door: Door, beginnings: list[bytes]) -> None:
    """Clients that send these bytes and then neither speak nor hang up: others are answered, and in the end they are let go."""
    with ExitStack() as stack:
        clients = [stack.enter_context(connection(door.settings.ml_backend_port, 60)) for _ in beginnings]
        for client, beginning in zip(clients, beginnings, strict=True):
            client.sendall(beginning)
        with connection(door.settings.ml_backend_port, 30) as other:  # longer than a silence, far shorter than for ever
            other.sendall(request("GET", "/health"))
            assert read(other).status == 200
        for client in clients:
            door.note("silent", read(client).status)
            client.shutdown(socket.SHUT_RDWR)
    door.look()
