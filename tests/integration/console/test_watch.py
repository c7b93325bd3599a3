"""`labelwheel watch` on a real folder and the real door: whole files only, all of them, and none twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from console import watch as watching
from console.door import Door
from console.ingest import Outcome
from console.watch import Watched, watch
from labelwheel.database.tables import Capture
from tests.fixtures.doors import Visits, await_until, open_door
from tests.fixtures.line import TOKEN, Line, picture
from tests.integration.console.test_ingest import LIMIT, captures, surroundings


@pytest.fixture
def visits(line: Line) -> Iterator[Visits]:
    with open_door(line.app) as visits:
        yield visits


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(watching, "TURN", 50)
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@contextmanager
def watched(visits: Visits, folder: Path, quiet: float = 0.2, done: Path | None = None, delete: bool = False) -> Iterator[list[Outcome]]:
    """Watch from a thread until the block ends; what came of each file so far."""
    stopping = threading.Event()
    outcomes: list[Outcome] = []
    what = Watched.of(folder, "line-1", "", quiet, done, delete)

    def follow() -> None:
        for outcome in watch(Door(lambda: visits.url, TOKEN, patience=None, stopping=stopping), what, LIMIT, stopping):
            outcomes.append(outcome)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield outcomes
    finally:
        stopping.set()
        thread.join(30)
        assert not thread.is_alive()


def ids(line: Line) -> list[str]:
    with line.database.read() as session:
        return sorted(session.scalars(select(Capture.external_id)))


def test_what_lies_there_and_what_comes_is_sent_once(line: Line, visits: Visits, folder: Path, tmp_path: Path) -> None:
    (folder / "before.png").write_bytes(picture(1))
    (tmp_path / "elsewhere.png").write_bytes(picture(3))
    with watched(visits, folder) as outcomes:
        await_until(lambda: len(outcomes) == 1)
        (folder / "written.png").write_bytes(picture(2))
        (tmp_path / "elsewhere.png").rename(folder / "moved-in.png")
        (folder / "new").mkdir()
        await_until(lambda: len(outcomes) == 3)
        (folder / "new" / "deep.png").write_bytes(picture(4))
        (folder / "notes.txt").write_text("no image")
        os.utime(folder / "before.png")
        await_until(lambda: len(outcomes) >= 5)
    assert sorted(outcome.state for outcome in outcomes) == ["known", "new", "new", "new", "new"]
    assert ids(line) == ["line-1/before.png", "line-1/moved-in.png", "line-1/new/deep.png", "line-1/written.png"]
    assert visits.sent() == 4, "what was only touched is asked for, not sent"


def test_a_half_written_file_is_not_sent(line: Line, visits: Visits, folder: Path) -> None:
    data = picture(1)
    with watched(visits, folder, quiet=2.0) as outcomes, (folder / "slow.png").open("wb") as stream:
        for start in range(0, len(data), len(data) // 8 + 1):
            stream.write(data[start : start + len(data) // 8 + 1])
            stream.flush()
            time.sleep(0.02)
            assert outcomes == []
        await_until(lambda: outcomes)
    assert ([outcome.state for outcome in outcomes], visits.sent()) == (["new"], 1)
    assert line.store.read(next(iter(uris(line)))) == data


def uris(line: Line) -> list[str]:
    return [str(path.relative_to(line.store.root)) for path in line.store.root.rglob("*.png")]


def test_half_a_file_whose_writer_paused_is_refused_and_the_whole_is_taken(line: Line, visits: Visits, folder: Path) -> None:
    with watched(visits, folder) as outcomes:
        (folder / "paused.png").write_bytes(picture(1)[:200])
        await_until(lambda: len(outcomes) == 1)
        assert (outcomes[0].state, captures(line)) == ("refused", 0)
        (folder / "paused.png").write_bytes(picture(1))
        await_until(lambda: len(outcomes) == 2)
    assert outcomes[1].state == "new"


def test_what_came_while_nobody_watched_is_sent_and_nothing_twice(line: Line, visits: Visits, folder: Path) -> None:
    (folder / "a.png").write_bytes(picture(1))
    with watched(visits, folder) as outcomes:
        await_until(lambda: outcomes)
    (folder / "b.png").write_bytes(picture(2))
    with watched(visits, folder) as outcomes:
        await_until(lambda: len(outcomes) == 2)
    assert sorted(outcome.state for outcome in outcomes) == ["known", "new"]
    assert visits.sent() == captures(line) == 2


@pytest.mark.parametrize("delete", [False, True])
def test_what_arrived_is_put_away_and_what_was_refused_stays(line: Line, visits: Visits, folder: Path, delete: bool) -> None:
    done = None if delete else folder / "done"
    (folder / "sub").mkdir()
    (folder / "sub" / "a.png").write_bytes(picture(1))
    (folder / "bad.png").write_bytes(b"no image at all")
    line.inspect(2, "line-1/b.png")  # it arrived, and the watch was killed before it could put it away
    (folder / "b.png").write_bytes(picture(2))
    with watched(visits, folder, done=done, delete=delete) as outcomes:
        await_until(lambda: len(outcomes) == 3)
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == (["bad.png"] if delete else ["bad.png", "done/b.png", "done/sub/a.png"])
    assert ids(line) == ["line-1/b.png", "line-1/sub/a.png"]


def test_a_file_that_cannot_be_put_away_is_named_and_not_sent_again(
    line: Line, visits: Visits, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watching, "move", full)
    monkeypatch.setattr(watching, "RESCAN_SECONDS", 0.1)
    (folder / "a.png").write_bytes(picture(1))
    with watched(visits, folder, done=folder / "done") as outcomes:
        await_until(lambda: outcomes)
        (folder / "b.png").write_bytes(picture(2))
        await_until(lambda: len(outcomes) == 2)
    assert [outcome.state for outcome in outcomes] == ["stuck", "stuck"]
    assert (folder / "a.png").exists()
    assert visits.sent() == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly(line: Line, visits: Visits, folder: Path, number: signal.Signals) -> None:
    (folder / "a.png").write_bytes(picture(1))
    command = [sys.executable, "-m", "console", "watch", str(folder), "--source", "line-1", "--quiet", "0.1"]
    environment = {**os.environ, **surroundings(visits, line.settings.home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    await_until(lambda: captures(line) == 1)
    process.send_signal(number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output
    assert "1 new" in output
    assert "Traceback" not in output
