"""supervisord's configuration, rendered. Pure; what it says is read back by supervisord's own parser in the tests.

supervisord's working folder is `home` and every path below it is relative, so no spelling of `home` (blanks, `%`, `#`) can break the file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path

from console.up import programs
from console.up.programs import BACKGROUND, Program

GUARDIAN = "guardian"
SETTLED_SECONDS = 5  # a program that ends sooner is backed off, one that ends later is started again at once
TRIES = 10
_SERVER = """\
[supervisord]
nodaemon = true
silent = true
umask = 077
nocleanup = true
logfile = logs/supervisord.log
logfile_maxbytes = 10MB
logfile_backups = 3
pidfile = run/supervisord.pid
{user}
[unix_http_server]
file = {socket}
chmod = 0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[eventlistener:{guardian}]
command = {guardian_command}
events = PROCESS_STATE_FATAL
environment = LABELWHEEL_PROGRAM="{guardian}"
priority = -1
autorestart = true
startretries = 1000000
stdout_logfile = NONE
stderr_logfile = logs/{guardian}.log
"""
_PROGRAM = """
[program:{name}]
command = {command}
environment = LABELWHEEL_PROGRAM="{name}",LABELWHEEL_LAUNCH="{digest}"
priority = {priority}
autostart = false
autorestart = true
startsecs = {startsecs}
startretries = {tries}
stopsignal = TERM
stopwaitsecs = {stop_seconds}
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 3
"""
_GROUP = """
[group:{name}]
programs = {programs}
priority = {priority}
"""


def launch_text(program: Program, directory: Path) -> str:
    """What `launch.py` reads: argv, environment and working folder, as JSON."""
    environment = {**programs.QUIET, **program.environment, "LABELWHEEL_PROGRAM": program.name}
    return json.dumps({"argv": list(program.argv), "environment": environment, "directory": str(directory)}, sort_keys=True, indent=1)


def render(wanted: Sequence[Program], socket: str, python: str, directory: Path, *, as_root: bool) -> str:
    """The whole configuration file. Programs stop in reverse order of `wanted`; those without health stop together, first."""
    here = Path(__file__).parent
    guardian = f"{escape(python)} -P {escape(str(here / 'guardian.py'))}"
    launcher = f"{escape(python)} -I {escape(str(here / 'launch.py'))}"
    user = "user = root\n" if as_root else ""  # without the line supervisord warns root at each start
    parts = [_SERVER.format(socket=socket, guardian=GUARDIAN, guardian_command=guardian, user=user)]
    parts += [_program(program, launcher, launch_text(program, directory), 10 * place) for place, program in enumerate(wanted, 1)]
    parts += _background(wanted)
    return "".join(parts)


def escape(word: str) -> str:
    """A word of a command, for supervisord: its parser cuts at ` #` and ` ;`, expands `%`, and splits like a shell."""
    return re.sub(r"([^\w@%+=:,./-])", r"\\\1", word).replace("%", "%%")


def _program(program: Program, launcher: str, launch: str, priority: int) -> str:
    return _PROGRAM.format(
        name=program.name,
        command=f"{launcher} run/programs/{program.name}.json",
        digest=hashlib.sha256(launch.encode()).hexdigest(),  # a changed environment is a changed program
        priority=priority,
        startsecs=SETTLED_SECONDS,
        tries=TRIES,
        stop_seconds=program.stop_seconds,
    )


def _background(wanted: Sequence[Program]) -> list[str]:
    names = [program.name for program in wanted if program.group == BACKGROUND]
    return [_GROUP.format(name=BACKGROUND, programs=",".join(names), priority=100_000)] if names else []
