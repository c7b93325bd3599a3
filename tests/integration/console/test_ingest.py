"""`labelwheel ingest` against the real door: resumed, refused, asked to wait, and cut off."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from typer.testing import CliRunner

from console import door as door_module
from console.cli import app
from console.door import Answer, Door, DoorClosed, DoorSilent, Stopped
from console.ingest import Outcome, ingest
from console.items import items_of
from console.whereabouts import NothingRuns, Whereabouts
from labelwheel.database.tables import Capture, utcnow
from labelwheel.errors import BackpressureError
from labelwheel.settings import get_settings
from ml_backend import pressure
from tests.fixtures.doors import Visits, await_until, living, open_door, stranger
from tests.fixtures.label_studio import free_port
from tests.fixtures.line import TOKEN, Line, picture

LIMIT = 100_000


@pytest.fixture
def visits(line: Line) -> Iterator[Visits]:
    with open_door(line.app) as visits:
        yield visits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "captures"
    folder.mkdir()
    return folder


def fill(folder: Path, count: int, first: int = 0) -> None:
    for seed in range(first, first + count):
        (folder / f"{seed:03}.png").write_bytes(picture(seed))


def captures(line: Line) -> int:
    with line.database.read() as session:
        return session.scalar(select(func.count()).select_from(Capture)) or 0


def run(visits: Visits, what: object, **options: Any) -> list[Outcome]:
    return list(ingest(Door(lambda: visits.url, TOKEN, **options), items_of(str(what), "line-1"), LIMIT))


def states(outcomes: list[Outcome]) -> list[str]:
    return [outcome.state for outcome in outcomes]


def surroundings(visits: Visits, home: Path) -> dict[str, str]:
    given = {"HOME": str(home), "ML_BACKEND_URL": visits.url, "API_TOKEN": TOKEN, "MAX_IMAGE_BYTES": str(LIMIT)}
    return {f"LABELWHEEL_{name}": value for name, value in given.items()}


def test_what_is_known_is_not_sent_again(line: Line, visits: Visits, folder: Path) -> None:
    fill(folder, 6)
    assert states(run(visits, folder)) == ["new"] * 6
    fill(folder, 2, first=6)
    visits.paths.clear()
    assert states(run(visits, folder)) == ["known"] * 6 + ["new"] * 2
    assert (visits.sent(), captures(line)) == (2, 8)


def test_a_killed_run_goes_on_where_it_was(line: Line, visits: Visits, folder: Path) -> None:
    fill(folder, 80)
    command = [sys.executable, "-m", "console", "ingest", str(folder), "--source", "line-1", "--json"]
    environment = {**os.environ, **surroundings(visits, line.settings.home)}
    killed = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_until(lambda: captures(line) >= 5)
    killed.kill()
    killed.wait()
    await_until(lambda: not visits.under_way)
    arrived = captures(line)
    assert arrived < 80, "it was not killed in the middle"
    visits.paths.clear()
    again = run(visits, folder)
    assert (states(again).count("known"), states(again).count("new"), visits.sent()) == (arrived, 80 - arrived, 80 - arrived)


def test_one_bad_file_never_ends_it_and_each_says_why(line: Line, visits: Visits, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, 3)
    (folder / "cut.png").write_bytes(picture(9)[:300])
    (folder / "empty.png").write_bytes(b"")
    (folder / "huge.png").write_bytes(bytes(LIMIT + 1))
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / ("long" * 55 + ".png")).write_bytes(picture(10))
    listed = folder / "list.txt"
    listed.write_text("\n".join(sorted(path.name for path in folder.iterdir() if path.suffix == ".png")))
    line.inspect(20, "line-1/002.png")
    for name, value in surroundings(visits, line.settings.home).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    answer = CliRunner().invoke(app, ["ingest", str(listed), "--source", "line-1", "--json"])
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["new"], found["known"], found["refused"], found["left"]) == (1, 2, 0, 6, 0)
    reasons = {Path(entry["files"][0]).name[:8]: entry["reason"] for entry in found["reasons"]}
    wanted = {
        "002.png": "known with other bytes", "cut.png": "damaged", "empty.pn": "no bytes", "huge.png": "MAX_IMAGE_BYTES",
        "gone.png": "No such file", "longlong": "external_id",
    }  # fmt: skip
    assert set(reasons) == set(wanted)
    assert all(wanted[name] in reason for name, reason in reasons.items()), reasons


def test_it_shows_a_summary_to_people(line: Line, visits: Visits, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, 2)
    for name, value in surroundings(visits, line.settings.home).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    answer = CliRunner().invoke(app, ["ingest", str(folder / "000.png"), "--source", "line-1"])
    assert (answer.exit_code, "1 new, 0 known, 0 refused" in answer.output) == (0, True)
    assert "Source: line-1." in answer.output
    assert "2/2" in CliRunner().invoke(app, ["ingest", str(folder), "--source", "line-1"]).output


def test_it_waits_while_the_door_has_no_room(line: Line, visits: Visits, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(folder, 5)
    full = [pressure.DiskFull("full", "wait")] * 6
    told: list[str] = []

    def soon_free(*_: Any) -> BackpressureError | None:
        return full.pop() if full else None

    monkeypatch.setattr(pressure, "LOOK_SECONDS", 0)
    monkeypatch.setattr(pressure, "excess", soon_free)
    monkeypatch.setattr(pressure.DiskFull, "retry_after", 0)
    assert states(run(visits, folder, told=told.append, patience=0)) == ["new"] * 5
    assert "waiting: full wait" in told
    assert captures(line) == 5


def test_it_waits_for_a_server_that_starts_again(line: Line, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "PAUSES", (0.05,) * 5)
    fill(folder, 4)
    visits, told = Visits(f"http://127.0.0.1:{free_port()}"), threading.Event()
    found: list[Outcome] = []
    sender = threading.Thread(target=lambda: found.extend(run(visits, folder, told=lambda _: told.set())))
    sender.start()
    assert told.wait(30)
    with open_door(line.app, int(visits.url.rpartition(":")[2])):
        sender.join(30)
    assert states(found) == ["new"] * 4


def test_it_ends_when_nobody_can_be_reached_or_nothing_would_be_taken(line: Line, visits: Visits, folder: Path) -> None:
    fill(folder, 4)
    items = items_of(str(folder), "line-1")
    with pytest.raises(DoorSilent) as silent:
        list(ingest(Door(lambda: f"http://127.0.0.1:{free_port()}", TOKEN, patience=0), items, LIMIT))
    assert "labelwheel up" in silent.value.cure
    with pytest.raises(DoorClosed, match="token"):
        list(ingest(Door(lambda: visits.url, "wrong"), items, LIMIT))
    assert captures(line) == 0


def test_a_stranger_at_the_port_is_not_taken_for_the_door(folder: Path) -> None:
    fill(folder, 1)
    with open_door(Flask("stranger")) as theirs, pytest.raises(DoorClosed, match="not ml_backend") as closed:
        run(theirs, folder)
    assert "labelwheel up" in closed.value.cure


@pytest.mark.parametrize("command", ["ingest {} --source a", "connect"])
def test_while_nothing_runs_a_stranger_at_the_port_is_told_nothing(
    line: Line, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    fill(folder, 1)
    monkeypatch.chdir(tmp_path)
    given = {"HOME": line.settings.home, "API_TOKEN": TOKEN, "ML_BACKEND_PORT": (port := free_port())}
    (tmp_path / ".env").write_text("".join(f"LABELWHEEL_{name}={value}\n" for name, value in given.items()))
    line.settings.run_dir.mkdir(exist_ok=True)
    line.settings.addresses_file.write_text(f"LABELWHEEL_ML_BACKEND_URL=http://127.0.0.1:{port}\n")  # `up` and all its programs were killed
    with stranger(port) as told, pytest.raises(NothingRuns, match=f"Nothing runs in {line.settings.home}.*labelwheel up"):
        CliRunner().invoke(app, shlex.split(command.format(folder)), catch_exceptions=False)
    assert told == []


def test_who_takes_the_port_between_two_images_is_told_nothing_and_the_next_up_is_followed(line: Line, folder: Path) -> None:
    fill(folder, 3)
    first, second, third = (item.path.read_bytes() for item in items_of(str(folder), "a") if item.path)
    stopping, waited = threading.Event(), threading.Event()
    door = Door(Whereabouts(line.settings), TOKEN, patience=None, stopping=stopping, told=lambda _: waited.set())
    port = free_port()
    with open_door(line.app, port) as visits, living(line.settings, ml_backend_url=visits.url):
        assert door.send("a", "a/1", utcnow(), "1.png", first) == Answer("new")
    answers: list[Answer] = []
    sender = threading.Thread(target=lambda: answers.append(door.send("a", "a/2", utcnow(), "2.png", second)))
    with stranger(port) as told:
        sender.start()
        assert waited.wait(30)
        with open_door(line.app) as visits, living(line.settings, ml_backend_url=visits.url):
            sender.join(30)
            assert door.send("a", "a/3", utcnow(), "3.png", third) == Answer("new")
    assert (answers, told, captures(line)) == ([Answer("new")], [], 3)


def test_a_request_that_breaks_the_connection_is_refused_while_the_server_is_well(
    line: Line, visits: Visits, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "PAUSES", (0.01,) * 5)
    fill(folder, 2)
    real = door_module.requests.Session.post

    def broken(session: Any, url: str, **given: Any) -> Any:
        if given.get("data", {}).get("external_id") == "line-1/000.png":
            raise door_module.requests.ConnectionError("reset by peer")
        return real(session, url, **given)

    monkeypatch.setattr(door_module.requests.Session, "post", broken)
    outcomes = run(visits, folder)
    assert states(outcomes) == ["refused", "new"]
    assert "connection broke" in outcomes[0].reason


def test_stopping_ends_every_wait(line: Line, folder: Path) -> None:
    fill(folder, 4)
    stopping = threading.Event()
    door = Door(lambda: f"http://127.0.0.1:{free_port()}", TOKEN, patience=None, stopping=stopping, told=lambda _: stopping.set())
    with pytest.raises(Stopped):
        list(ingest(door, items_of(str(folder), "line-1"), LIMIT))


class Web(BaseHTTPRequestHandler):
    """A web server with an image, and with what should not be fetched."""

    seen: list[dict[str, str]] = []

    def do_GET(self) -> None:
        Web.seen.append(dict(self.headers))
        path = self.path.partition("?")[0]
        body = {"/part.png": picture(1), "/huge.png": bytes(4 * LIMIT), "/page.png": b"<html>"}.get(path)
        if path == "/moved.png":
            return self._answer(302, b"", Location="/part.png")
        if path == "/round.png":
            return self._answer(302, b"", Location="/round.png")
        return self._answer(404 if body is None else 200, body or b"", **{"Last-Modified": "Mon, 02 Nov 2026 06:00:00 GMT"})

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            """The reader had enough."""

    def log_message(self, *_: Any) -> None:
        """Keep the tests' output quiet."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    Web.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_address_is_fetched_within_bounds_and_learns_no_token(line: Line, visits: Visits, web: str, folder: Path) -> None:
    (outcome,) = run(visits, f"{web}/part.png?signature=secret")
    assert (outcome.state, outcome.item.external_id) == ("new", "line-1/127.0.0.1/part.png")
    with line.database.read() as session:
        capture = session.scalars(select(Capture)).one()
    assert capture.captured_at.isoformat() == "2026-11-02T06:00:00+00:00"
    names = ("part", "moved", "round", "huge", "page", "missing")
    listed = folder / "list.txt"
    listed.write_text("\n".join([*(f"{web}/{name}.png" for name in names), f"http://127.0.0.1:{free_port()}/off.png", "http://[::1/x.png"]))
    outcomes = run(visits, listed)
    assert states(outcomes) == ["known", "new", *["refused"] * 6]
    reasons = [outcome.reason for outcome in outcomes[2:]]
    for reason, word in zip(
        reasons, ("TooManyRedirects", "MAX_IMAGE_BYTES", "not an image", "404", "ConnectionError", "InvalidURL"), strict=True
    ):
        assert word in reason, reasons
    assert all("Authorization" not in headers for headers in Web.seen)
    assert not any(TOKEN in str(headers) for headers in Web.seen)
