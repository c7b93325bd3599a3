"""supervisord as seen from here: started, asked over its unix socket, told to stop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy, Transport

import psutil

from console.up import orphans
from console.up.programs import Program, ProgramState, StartError
from console.up.render import GUARDIAN, launch_text, render
from console.writing import HOME_CURE, into
from labelwheel.errors import SettingsError
from labelwheel.private import write_private_text
from labelwheel.settings import PREFIX, Settings

ANSWER_SECONDS = 10


class Engine:
    """The supervisord of one home."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.socket = settings.supervisor_socket

    def answers(self) -> bool:
        """Whether a supervisord runs and is not about to end."""
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except (StartError, Fault):
            return False

    def configure(self, programs: Sequence[Program]) -> None:
        """Write the configuration and the private launch files."""
        prepare_folders(self.settings)
        run, directory = self.settings.run_dir, Path.cwd()
        for program in programs:
            write_private_text(run / "programs" / f"{program.name}.json", launch_text(program, directory))
        text = render(programs, self._socket_name(), sys.executable, directory, as_root=os.getuid() == 0)
        write_private_text(run / "supervisord.conf", text)

    def folder(self) -> Path | None:
        """The folder in which the programs were configured, from which their relative paths count; None before the first time."""
        launch = next((self.settings.run_dir / "programs").glob("*.json"), None)
        return Path(json.loads(launch.read_text())["directory"]) if launch else None

    def spawn(self) -> None:
        """Start supervisord, in a session of its own so that a terminal's Ctrl-C does not reach it."""
        self.socket.unlink(missing_ok=True)
        argv = [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(self.settings.run_dir / "supervisord.conf")]
        log_file = self.settings.log_dir / "supervisord.log"
        with log_file.open("ab") as log:
            home, environment = self.settings.home, self._environment()
            subprocess.Popen(argv, cwd=home, env=environment, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if not _until(self.answers, ANSWER_SECONDS):
            raise StartError(f"supervisord does not answer on {self.socket}.\n{tail(log_file)}", f"Read {log_file}.")

    def update(self) -> list[str]:
        """Make a running supervisord follow the configuration; give the names of the groups that changed."""
        added, changed, removed = self._call("reloadConfig")[0]
        for group in [*changed, *removed]:
            self._call("stopProcessGroup", group, False)
            _until(partial(self._is_stopped, group), 60)
            self._call("removeProcessGroup", group)
        for group in [*added, *changed]:
            self._call("addProcessGroup", group)
        return [*added, *changed, *removed]

    def start(self, program: Program) -> None:
        """Ask for a start; a program that runs already is left alone."""
        try:
            self._call("startProcess", program.address, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise

    def state(self, program: Program) -> dict[str, Any]:
        """supervisord's `getProcessInfo`."""
        info: dict[str, Any] = self._call("getProcessInfo", program.address)
        return info

    def states(self) -> list[ProgramState]:
        """All programs, in the order of their start; [] when no supervisord answers."""
        try:
            place = {config["name"]: config["process_prio"] for config in self._call("getAllConfigInfo")}
            found = [info for info in self._call("getAllProcessInfo") if info["name"] != GUARDIAN]
        except (StartError, Fault):
            return []
        return [_state(info) for info in sorted(found, key=lambda info: place[info["name"]])]

    def shutdown(self) -> None:
        """Stop all programs in reverse order, then supervisord, then whatever left its process group; remove the sockets."""
        try:
            server = psutil.Process(self._call("getPID"))
            patience = 15 + sum(self._stop_seconds())
            self._call("shutdown")
            server.wait(patience)
        except (StartError, Fault, psutil.Error):
            pass  # it is gone, or does not obey: what is left of it is ended below
        orphans.end(self.settings.home)
        for path in (self.socket, self.settings.valkey_socket):
            path.unlink(missing_ok=True)
        if self.settings.socket_dir != self.settings.run_dir:
            with suppress(OSError):  # never made, or something else lies in it
                self.settings.socket_dir.rmdir()

    def _stop_seconds(self) -> list[int]:
        return [config["stopwaitsecs"] for config in self._call("getAllConfigInfo")]

    def _is_stopped(self, group: str) -> bool:
        ended = {"STOPPED", "EXITED", "FATAL", "UNKNOWN"}
        return all(info["statename"] in ended for info in self._call("getAllProcessInfo") if info["group"] == group)

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            with ServerProxy("http://localhost", transport=_UnixTransport(self.socket)) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (OSError, HTTPException, ProtocolError) as error:
            raise StartError(f"supervisord does not answer on {self.socket} ({type(error).__name__}).", "Run `labelwheel up`.") from error

    def _socket_name(self) -> str:
        inside = self.socket.parent == self.settings.run_dir
        return f"run/{self.socket.name}" if inside else str(self.socket)

    def _environment(self) -> dict[str, str]:
        theirs = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
        return {**theirs, PREFIX + "HOME": str(self.settings.home), PREFIX + "PROGRAM": orphans.SUPERVISORD}


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class _UnixTransport(Transport):
    """supervisor's own transport has no time limit; a stopped supervisord would hold us for ever."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> HTTPConnection:
        connection = _UnixConnection(self.path)
        self._connection = host, connection
        return connection


def prepare_folders(settings: Settings) -> None:
    """Create our folders, private ones with mode 0700; refuse a socket folder that is not ours. InputError where the home cannot be used."""
    with into(settings.home, HOME_CURE):
        for folder in (settings.home, settings.run_dir, settings.run_dir / "programs", settings.log_dir, settings.socket_dir):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = settings.socket_dir.lstat()
    if found.st_uid != os.getuid() or settings.socket_dir.is_symlink():
        raise SettingsError(f"{settings.socket_dir} belongs to somebody else.", "Remove it, or set LABELWHEEL_HOME to a shorter path.")
    for folder in (settings.run_dir, settings.log_dir, settings.socket_dir):
        folder.chmod(0o700)


def tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file."""
    if not path.exists():
        return "(no log)"
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 16_384))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])


def _state(info: dict[str, Any]) -> ProgramState:
    uptime = info["now"] - info["start"] if info["statename"] in ("RUNNING", "STARTING") else 0
    return ProgramState(info["name"], info["statename"], info["pid"], uptime, info["description"])


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
