from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
import requests
from flask import Flask, request
from werkzeug.serving import make_server

from console.demo import camera
from console.demo.camera import Camera
from console.demo.images import Frame


class Door:
    """`POST /inspect` with troubles to order: `troubles[external_id]` statuses come before the answer."""

    def __init__(self) -> None:
        self.url = ""
        self.troubles: dict[str, list[int]] = {}
        self.arrivals: list[dict[str, Any]] = []
        self.app = Flask(__name__)
        self.app.add_url_rule("/inspect", view_func=self.inspect, methods=["POST"])

    def inspect(self) -> tuple[dict[str, Any], int, dict[str, str]]:
        fields = request.form.to_dict()
        self.arrivals.append({**fields, "bytes": request.files["image"].read(), "authorization": request.headers["Authorization"]})
        if self.troubles.get(fields["external_id"]):
            return {"error": {"message": "not now"}}, self.troubles[fields["external_id"]].pop(0), {"Retry-After": "0"}
        return {"external_id": fields["external_id"]}, 201, {}


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    server = make_server("127.0.0.1", 0, door.app, threaded=True)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    door.url = f"http://127.0.0.1:{server.server_port}"
    yield door
    server.shutdown()
    server.server_close()
    thread.join()


def frame(number: int) -> Frame:
    return Frame("line-a", f"sub/f{number}.png", datetime(2026, 11, 2, 6, 0, number, tzinfo=UTC), b"bytes %d" % number, ())


def test_a_frame_arrives_whole(door: Door) -> None:
    assert Camera(door.url + "/", "secret").inspect(frame(3)) == {"external_id": "sub/f3.png"}
    assert door.arrivals == [
        {
            "source": "line-a",
            "external_id": "sub/f3.png",
            "captured_at": "2026-11-02T06:00:03Z",
            "bytes": b"bytes 3",
            "authorization": "Bearer secret",
        }
    ]


def test_it_comes_back_when_asked_to(door: Door) -> None:
    door.troubles = {"sub/f1.png": [503, 429]}
    assert Camera(door.url, "secret").inspect(frame(1)) == {"external_id": "sub/f1.png"}
    assert [arrival["bytes"] for arrival in door.arrivals] == [b"bytes 1"] * 3


@pytest.mark.parametrize("status", [400, 401, 409, 500])
def test_a_refusal_is_not_repeated_and_says_why(door: Door, status: int) -> None:
    door.troubles = {"sub/f1.png": [status]}
    with pytest.raises(requests.HTTPError, match=rf"{status} for sub/f1\.png: .*not now"):
        Camera(door.url, "secret").inspect(frame(1))
    assert len(door.arrivals) == 1


def test_it_gives_up_in_the_end(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera, "RETRY", camera.RETRY.new(backoff_factor=0.01, backoff_jitter=0))  # as often, in less time
    door.troubles = {"sub/f1.png": [503] * 100}
    with pytest.raises(requests.RequestException):
        Camera(door.url, "secret").inspect(frame(1))
    assert len(door.arrivals) == 7


def test_a_stream_keeps_the_order_and_loses_nothing(door: Door) -> None:
    frames = [frame(number) for number in range(20)]
    door.troubles = {one.external_id: [503] for one in frames[::3]}
    done: list[int] = []
    answers = Camera(door.url, "secret").stream(iter(frames), done.append)
    assert [answer["external_id"] for answer in answers] == [one.external_id for one in frames]
    assert done == list(range(1, 21))
    assert set(Counter(arrival["external_id"] for arrival in door.arrivals)) == {one.external_id for one in frames}
