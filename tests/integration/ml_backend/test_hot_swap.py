"""A deployment is served within two seconds, while requests go on without an error."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from labelwheel import serving
from labelwheel.errors import ModelError
from labelwheel.serving import LOOK_SECONDS, Follower, LineUp, Served
from tests.fixtures.line import Line


def test_requests_go_on_while_the_model_changes(line: Line) -> None:
    line.deploy(0.9)
    seen: list[tuple[float, int, str]] = []
    stop = threading.Event()

    def camera(number: int) -> None:
        client = line.app.test_client()
        while not stop.is_set():
            answer = line.inspect(number % 3, f"{number}-{len(seen)}", client=client)
            seen.append((time.monotonic(), answer.status_code, answer.json.get("model_version", "error")))

    with ThreadPoolExecutor(3) as pool:
        cameras = [pool.submit(camera, number) for number in range(3)]
        time.sleep(0.5)
        line.deploy(0.3)
        deployed = time.monotonic()
        time.sleep(LOOK_SECONDS + 1.5)
        stop.set()
        for one in cameras:
            one.result()

    assert {status for _, status, _ in seen} <= {200, 201}
    assert {version for moment, _, version in seen if moment < deployed} == {"labelwheel@1"}
    assert {version for moment, _, version in seen if moment > deployed + 2} == {"labelwheel@2"}


def test_the_first_requests_all_wait_for_the_first_model(line: Line) -> None:
    line.deploy(0.9)
    champion, start = Follower(line.database, line.settings, line.project.id), threading.Barrier(12)

    def ask(_: int) -> LineUp | None:
        start.wait()
        return champion.current()

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, range(12)))
    assert len({id(served) for served in found}) == 1
    assert found[0] is not None


def test_a_request_during_the_first_load_waits_for_the_model(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was once told that nothing serves: the look counted as done before the file was loaded."""
    line.deploy(0.9)
    champion, loading, go_on = Follower(line.database, line.settings, line.project.id), threading.Event(), threading.Event()
    load = serving.load

    def load_slowly(*arguments: Any) -> Served:
        loading.set()
        go_on.wait(10)
        return load(*arguments)

    monkeypatch.setattr(serving, "load", load_slowly)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(champion.current)
        loading.wait(10)
        second = pool.submit(champion.current)
        time.sleep(0.1)
        assert not second.done()
        go_on.set()
        assert first.result() is second.result() is not None


def test_a_request_that_is_overtaken_while_it_begins_lets_go_of_no_lock_but_its_own(line: Line) -> None:
    """The first model arrives exactly between a request's looks: that request once released a lock that it did not hold."""

    class Overtaken(Follower):
        looks = 0

        @property
        def _line_up(self) -> LineUp | None:
            self.looks += 1
            return self.loaded if self.looks > 1 else None

        @_line_up.setter
        def _line_up(self, served: LineUp | None) -> None:
            self.loaded = served

    line.deploy(0.9)
    champion = Overtaken(line.database, line.settings, line.project.id)
    champion.loaded = Follower(line.database, line.settings, line.project.id).current()
    served = champion.current()
    assert served is not None
    assert served.served_as == "labelwheel@1"


def test_a_rollback_is_served_like_any_deployment(line: Line) -> None:
    first = line.deploy(0.9)
    line.deploy(0.3)
    champion = Follower(line.database, line.settings, line.project.id)
    assert champion.current().served_as == "labelwheel@2"  # type: ignore[union-attr]
    with line.database.write() as session:
        session.add(type(first)(project_id=1, tag="label", model_version_id=first.model_version_id, served_as=first.served_as))
    time.sleep(LOOK_SECONDS)
    assert champion.current().served_as == "labelwheel@1"  # type: ignore[union-attr]


def test_a_model_whose_file_is_gone_is_named(line: Line) -> None:
    line.deploy(0.9)
    next(line.settings.home.glob("*.onnx")).unlink()
    with pytest.raises(ModelError, match=r"labelwheel@1 is gone: model-1-1\.onnx") as caught:
        Follower(line.database, line.settings, line.project.id).current()
    assert caught.value.cure


def test_the_memory_of_a_model_that_left_is_given_back_when_its_last_request_ends(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[None] = []
    monkeypatch.setattr(serving, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(serving, "give_back", lambda: given.append(None))
    line.deploy(0.9)
    follower = Follower(line.database, line.settings, line.project.id)
    under_way = follower.current()
    line.deploy(0.3)
    follower.current(), follower.current()
    assert (under_way is not None, given) == (True, [])
    del under_way
    gc.collect()
    follower.current(), follower.current()
    assert given == [None]
