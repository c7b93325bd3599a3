"""`up` with real supervisord and real, light children: what dies comes back, what stops leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
import requests

from console import up
from console.up import orphans
from console.up.ports import is_free
from console.whereabouts import NothingRuns, Whereabouts
from labelwheel.settings import Settings, load_settings

DRIVER = Path(__file__).with_name("driver.py")
PATIENCE = 40.0


class Wheel:
    """One home, and the `up` processes that a test starts on it."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.environment = {**os.environ, "LABELWHEEL_LABEL_STUDIO_URL": "http://127.0.0.1:1"}
        self.started: list[subprocess.Popen[str]] = []

    def up(self, *arguments: str) -> subprocess.Popen[str]:
        argv = [sys.executable, str(DRIVER), str(self.home), *arguments]
        process = subprocess.Popen(argv, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.started.append(process)
        return process

    def up_and_ready(self, *arguments: str) -> subprocess.Popen[str]:
        process = self.up(*arguments)
        assert process.stdout
        if not any("READY" in line for line in process.stdout):
            pytest.fail(process.communicate(timeout=PATIENCE)[1])
        return process

    @property
    def settings(self) -> Settings:
        return load_settings(self.home)

    def pids(self) -> dict[str, int]:
        return {state.name: state.pid for state in up.status(self.settings)}

    def left_over(self) -> list[psutil.Process]:
        return orphans.find(self.home)

    def console_answers(self) -> bool:
        try:
            return requests.get(self.settings.console_url, timeout=2).status_code == 200
        except requests.ConnectionError:
            return False


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wheel]:
    yield from _wheel(tmp_path / "var", tmp_path, monkeypatch)


@pytest.fixture
def far_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wheel]:
    """A home whose path has every character that hurts, and is too long for a socket."""
    yield from _wheel(tmp_path / ("a b %c #d ;e 'f' " * 5) / "var", tmp_path, monkeypatch)


def _wheel(home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wheel]:
    monkeypatch.chdir(folder)
    (folder / ".env").write_text(f"LABELWHEEL_CONSOLE_PORT={free_port()}\nLABELWHEEL_ML_BACKEND_PORT={free_port()}\n")
    made = Wheel(home.resolve(), folder)
    yield made
    for process in made.started:
        process.kill()
        process.communicate()
    up.stop(made.settings)
    assert made.left_over() == []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_from_start_to_stop(wheel: Wheel) -> None:
    process = wheel.up_and_ready()
    settings, before = wheel.settings, wheel.pids()
    assert wheel.console_answers()
    assert Whereabouts(settings)() == settings.ml_backend_url
    assert (wheel.home / "between").exists()
    assert [state.name for state in up.status(settings)] == ["ml-backend", "console"]

    sockets = [item for child in wheel.left_over() for item in child.net_connections("inet")]
    assert {item.laddr.ip for item in sockets if item.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    for private in (settings.addresses_file, settings.run_dir / "supervisord.conf", settings.run_dir / "programs" / "console.json"):
        assert private.stat().st_mode & 0o077 == 0

    os.kill(before["console"], signal.SIGKILL)
    until(lambda: wheel.pids()["console"] not in (0, before["console"]) and wheel.console_answers())
    assert wheel.pids()["ml-backend"] == before["ml-backend"]

    second = wheel.up()
    _, said = second.communicate(timeout=PATIENCE)
    assert second.returncode == 1
    assert f"already_running: Labelwheel runs already: process {process.pid}, console {settings.console_url}." in said
    assert "labelwheel down" in said

    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert wheel.left_over() == []
    assert is_free(settings.console_port)
    assert not settings.addresses_file.exists()
    assert not list(settings.socket_dir.glob("*.sock"))
    with pytest.raises(NothingRuns):
        Whereabouts(settings)()


def test_ctrl_c_in_the_middle_of_a_start_leaves_nothing(wheel: Wheel) -> None:
    process = wheel.up("--with", "broken")
    until(lambda: wheel.pids().get("console"))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    assert wheel.left_over() == []


def test_down_ends_an_attached_up(wheel: Wheel) -> None:
    process = wheel.up_and_ready()
    up.stop(wheel.settings)
    assert process.wait(1) == 0
    assert wheel.left_over() == []
    assert up.status(wheel.settings) == []


def test_detached_programs_stay_until_down(wheel: Wheel) -> None:
    assert wheel.up_and_ready("--detach").wait(PATIENCE) == 0
    assert wheel.console_answers()
    up.stop(wheel.settings)
    assert wheel.left_over() == []


def test_an_up_that_cannot_do_better_leaves_alone_what_runs(wheel: Wheel, tmp_path: Path) -> None:
    wheel.up_and_ready("--detach").wait(PATIENCE)
    before, addresses = wheel.pids(), wheel.settings.addresses_file.read_text()
    started_in, wheel.folder = wheel.folder, tmp_path / "elsewhere"
    wheel.folder.mkdir()
    for arguments in (["--detach", "--mark", "changed"], []):
        elsewhere = wheel.up(*arguments)
        _, said = elsewhere.communicate(timeout=PATIENCE)
        assert elsewhere.returncode == 1
        assert f"already_running: Labelwheel runs already, started in {started_in}, console {wheel.settings.console_url}." in said
    wheel.folder = started_in
    _, said = wheel.up("--detach", "--mark", "changed", "--with", "missing").communicate(timeout=PATIENCE)
    assert "start_failed: missing cannot be started: there is no program /nowhere/missing." in said
    assert wheel.pids() == before
    assert wheel.settings.addresses_file.read_text() == addresses
    assert wheel.console_answers()


def test_supervisord_of_a_killed_up_is_adopted(wheel: Wheel) -> None:
    wheel.up_and_ready().kill()
    before, port = wheel.pids(), wheel.settings.console_port
    assert wheel.console_answers()
    wheel.up_and_ready().kill()
    assert wheel.pids() == before
    wheel.up_and_ready("--mark", "changed")
    assert wheel.pids()["ml-backend"] == before["ml-backend"]
    assert wheel.pids()["console"] != before["console"]
    assert wheel.settings.console_port == port
    assert psutil.Process(wheel.pids()["console"]).environ()["MARK"] == "changed"


def test_orphans_of_a_killed_supervisord_are_ended_before_a_new_start(wheel: Wheel) -> None:
    wheel.up_and_ready().kill()
    before, port = wheel.pids(), wheel.settings.console_port
    supervisord = int((wheel.home / "run" / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGKILL)
    until(lambda: up.status(wheel.settings) == [])
    assert {process.pid for process in wheel.left_over()} >= set(before.values())
    wheel.up_and_ready()
    assert not any(psutil.pid_exists(pid) for pid in before.values())
    assert wheel.console_answers()
    assert wheel.settings.console_port == port


def test_up_starts_supervisord_again(wheel: Wheel) -> None:
    wheel.up_and_ready()
    before = wheel.pids()
    os.kill(int((wheel.home / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: wheel.pids().get("console", 0) not in (0, before["console"]) and wheel.console_answers())


def test_a_stopped_supervisord_does_not_hold_up_the_next_start(wheel: Wheel) -> None:
    wheel.up_and_ready().kill()
    supervisord = int((wheel.home / "run" / "supervisord.pid").read_text())
    os.kill(supervisord, signal.SIGSTOP)
    wheel.up_and_ready()
    assert int((wheel.home / "run" / "supervisord.pid").read_text()) != supervisord
    assert not psutil.pid_exists(supervisord)


def test_a_program_that_does_not_start_is_named_with_its_last_words(wheel: Wheel) -> None:
    process = wheel.up("--with", "broken")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "start_failed: broken did not start" in said
    assert "no disk, said the child" in said
    assert str(wheel.home / "logs" / "broken.log") in said
    assert wheel.left_over() == []


def test_neither_deaf_programs_nor_their_strays_survive_a_stop(wheel: Wheel) -> None:
    process = wheel.up_and_ready("--with", "stubborn")
    stubborn = psutil.Process(wheel.pids()["stubborn"])
    until(stubborn.children)
    (stray,) = stubborn.children()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not stubborn.is_running()
    assert not stray.is_running()


def test_a_program_that_gave_up_is_started_again(wheel: Wheel) -> None:
    (wheel.home).mkdir()
    (wheel.home / "go").touch()
    wheel.up_and_ready("--with", "patient", "--tries", "1")
    before = wheel.pids()["patient"]
    (wheel.home / "go").unlink()
    os.kill(before, signal.SIGKILL)
    log = wheel.home / "logs" / "supervisord.log"
    until(lambda: log.read_text().count("patient entered FATAL") >= 2)
    (wheel.home / "go").touch()
    until(lambda: {state.name: state.state for state in up.status(wheel.settings)}["patient"] == "RUNNING")


def test_busy_ports_are_avoided(wheel: Wheel) -> None:
    wanted = load_settings(wheel.home, live=False).console_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", wanted))
        other.listen()
        wheel.up_and_ready("--detach")
        assert wheel.settings.console_port != wanted
        assert wheel.console_answers()


def test_embedded_valkey_keeps_what_it_was_given(wheel: Wheel) -> None:
    wheel.up_and_ready("--with", "valkey")
    before = wheel.pids()["valkey"]
    with redis.Redis.from_url(wheel.settings.redis_url) as client:
        client.set("key", "value")
        time.sleep(1.1)  # the append-only file is synced each second
        os.kill(before, signal.SIGKILL)
        until(lambda: wheel.pids()["valkey"] not in (0, before))
        until(lambda: _pings(client))
        assert client.get("key") == b"value"
    server = psutil.Process(wheel.pids()["valkey"])
    assert server.net_connections("inet") == []
    assert server in wheel.left_over()  # its mark is readable


def test_a_home_with_a_long_and_ugly_path(far_wheel: Wheel) -> None:
    process = far_wheel.up_and_ready("--with", "valkey")
    settings = far_wheel.settings
    assert settings.socket_dir.stat().st_mode & 0o077 == 0
    assert far_wheel.console_answers()
    with redis.Redis.from_url(settings.redis_url) as client:
        assert client.ping()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert not settings.socket_dir.exists()


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
