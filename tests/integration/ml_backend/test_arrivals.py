"""Arrivals that meet: the same id at once from threads and processes, asking first, and a door that is closed for what is new."""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from werkzeug.test import TestResponse

from labelwheel.database.tables import Capture, Image, Prediction, QueueItem
from labelwheel.settings import Settings
from labelwheel.vision.image import digest
from ml_backend.app import create_app
from tests.fixtures.line import TOKEN, Line, picture
from tests.integration.ml_backend.test_doors import count, refused

# the same id at once


def at_once(line: Line, sends: list[tuple[int, str]]) -> list[TestResponse]:
    """Each (picture, external id) from a thread of its own, all let go together."""
    start = threading.Barrier(len(sends))

    def send(one: tuple[int, str]) -> TestResponse:
        client = line.app.test_client()
        start.wait()
        return line.inspect(*one, client=client)

    with ThreadPoolExecutor(len(sends)) as pool:
        return list(pool.map(send, sends))


def test_the_same_bytes_at_once_are_answered_the_same_and_one_of_them_is_new(either_line: Line) -> None:
    line = either_line
    line.deploy(0.9, 0.5)
    for seed in range(3):
        answers = at_once(line, [(seed, f"c-{seed}")] * 8)
        assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
        assert all(answer.json == answers[0].json for answer in answers)
        assert line.inspect(seed, f"c-{seed}").json == answers[0].json
    assert [count(line.database, table) for table in (Capture, Image, Prediction)] == [3, 3, 3]


def test_other_bytes_at_once_are_refused_and_leave_nothing(either_line: Line) -> None:
    line = either_line
    for round_ in range(4):
        seeds = range(8 * round_, 8 * round_ + 8)
        answers = at_once(line, [(seed, f"c-{round_}") for seed in seeds])
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    with line.database.read() as session:
        kept = {row.image.uri for row in session.scalars(select(Capture).options(joinedload(Capture.image)))}
    assert (count(line.database, Capture), count(line.database, Image)) == (4, 4)
    assert {str(path.relative_to(line.store.root)) for path in line.store.root.rglob("*") if path.is_file()} == kept


def test_processes_at_once_agree(line: Line) -> None:
    """Two gunicorn processes on one database: the same id with the same bytes, and one id with two."""
    line.deploy(0.9, 0.5)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        sends = [(seed, f"c-{seed // 2}") for seed in (0, 0, 0, 0, 2, 3, 4, 5)]
        answers = list(pool.map(send_from_here, [line.settings.model_dump()] * len(sends), sends))
    same, conflicts = answers[:4], answers[4:]
    assert sorted(status for status, _ in same) == [200, 200, 200, 201]
    assert all(body == same[0][1] for _, body in same)
    assert sorted(status for status, _ in conflicts) == [201, 201, 409, 409]
    assert count(line.database, Capture) == count(line.database, Image) == 3


def send_from_here(given: dict[str, Any], send: tuple[int, str]) -> tuple[int, Any]:
    app = create_app(Settings(**given))
    seed, external_id = send
    fields = {"source": "line-a", "external_id": external_id, "image": (BytesIO(picture(seed)), "image.png")}
    answer = app.test_client().post("/inspect", data=fields, headers={"Authorization": f"Bearer {TOKEN}"})
    return answer.status_code, answer.json


# asking first


def test_who_asks_is_told_what_is_known(line: Line) -> None:
    line.inspect(1, "c-1")
    line.inspect(2, "c-2")
    asked = {"c-1": digest(picture(1)), "c-2": digest(picture(9)), "c-3": digest(picture(3))}
    answer = line.client.post("/inspect/known", json={"captures": asked}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json == {"known": ["c-1"], "other": ["c-2"]}


@pytest.mark.parametrize(
    "body", [None, [], {}, {"captures": {"a": "x"}}, {"captures": {"": "0" * 64}}, {"captures": {f"c{n}": "0" * 64 for n in range(501)}}]
)
def test_a_question_of_another_shape_is_refused(line: Line, body: Any) -> None:
    refused(line.client.post("/inspect/known", json=body, headers={"Authorization": f"Bearer {TOKEN}"}), 400, "bad_input")


# backpressure


@pytest.mark.parametrize(
    ("bound", "code"),
    [({"min_free_bytes": 2**60}, "disk_full"), ({"store_max_bytes": 1}, "store_full"), ({"pending_max": 1}, "queue_full")],
)
def test_beyond_a_bound_nothing_new_is_taken_and_what_is_known_is_answered(line: Line, bound: dict[str, int], code: str) -> None:
    known = line.inspect(1).json
    with line.database.write() as session:
        session.add(QueueItem(project_id=line.project.id, image_id=1, capture_id=1, reason="audit", priority=1, scores={}))
    narrow = create_app(line.settings.model_copy(update=bound)).test_client()
    answer = line.inspect(2, client=narrow)
    refused(answer, 429, code)
    assert int(answer.headers["Retry-After"]) > 0
    assert line.inspect(1, client=narrow).json == known
    assert count(line.database, Image) == 1
    assert len([path for path in line.store.root.rglob("*") if path.is_file()]) == 1


def test_a_disk_that_is_full_while_writing_is_backpressure(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_space)
        refused(line.inspect(1), 429, "disk_full")
    assert count(line.database, Image) == 0
    assert line.inspect(1).status_code == 201
