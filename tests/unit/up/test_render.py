"""The rendered configuration is judged by supervisord's own parser."""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from supervisor.options import ServerOptions

from console.up.programs import Program
from console.up.render import escape, launch_text, render

SERVERS = [
    Program("store", ["store"], health=lambda: "", stop_seconds=7),
    Program("console", ["console"], health=lambda: ""),
    Program("worker", ["worker"], stop_seconds=15),
    Program("clock", ["clock"]),
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "logs").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(programs: Sequence[Program], home: Path, python: str = "/usr/bin/python3") -> Any:
    path = home / "run" / "supervisord.conf"
    path.write_text(render(programs, "run/supervisor.sock", python, home, as_root=False))
    options = ServerOptions()
    options.realize(["-n", "-c", str(path)])
    return options


def children(options: Any) -> dict[str, Any]:
    return {config.name: config for group in options.process_group_configs for config in group.process_configs}


def test_every_program_is_kept_alive_and_stopped_with_its_group(home: Path) -> None:
    found = children(parsed(SERVERS, home))
    assert found.keys() == {"store", "console", "worker", "clock", "guardian"}
    for name in ("store", "console", "worker", "clock"):
        child = found[name]
        assert (child.autorestart.__name__, child.autostart) == ("RestartUnconditionally", False)
        assert (child.killasgroup, child.redirect_stderr) == (True, True)
        assert (child.stdout_logfile, child.stdout_logfile_maxbytes, child.stdout_logfile_backups) == (f"logs/{name}.log", 10 * 2**20, 3)
    assert (found["store"].stopwaitsecs, found["worker"].stopwaitsecs) == (7, 15)


def test_groups_stop_in_reverse_and_the_background_together(home: Path) -> None:
    groups = sorted(parsed(SERVERS, home).process_group_configs, key=lambda group: group.priority)
    assert [group.name for group in groups] == ["guardian", "store", "console", "background"]
    assert {config.name for config in groups[-1].process_configs} == {"worker", "clock"}


def test_supervisord_has_no_port_and_a_private_socket(home: Path) -> None:
    (server,) = parsed(SERVERS, home).server_configs
    assert (server["section"], server["file"], server["chmod"]) == ("unix_http_server", str(home / "run" / "supervisor.sock"), 0o700)


def test_secrets_stay_out_of_the_configuration(home: Path) -> None:
    program = Program("store", ["store", "--token", "hush-argument"], environment={"PASSWORD": "hush-environment"})
    assert "hush" not in render([program], "run/supervisor.sock", "python", home, as_root=True)
    launch = json.loads(launch_text(program, home))
    assert launch["environment"]["PASSWORD"] == "hush-environment"
    assert launch["argv"][-1] == "hush-argument"


BEFORE = Program("store", ["store"], environment={"A": "1"})


@pytest.mark.parametrize(
    "changed", [replace(BEFORE, argv=["store", "-v"]), replace(BEFORE, environment={}), replace(BEFORE, stop_seconds=3)]
)
def test_a_changed_program_is_seen_by_supervisord(home: Path, changed: Program) -> None:
    def of(program: Program) -> Any:
        return children(parsed([program], home))["store"]

    assert of(BEFORE) == of(BEFORE)
    assert of(BEFORE) != of(changed)


@given(st.text(string.ascii_letters + string.digits + " %;#'\"\\$()~é", min_size=1))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_any_path_of_the_interpreter_survives_the_parser(home: Path, python: str) -> None:
    command = children(parsed(SERVERS[:1], home, python))["store"].command
    assert shlex.split(command)[0] == python


def test_plain_words_stay_readable() -> None:
    assert escape("/usr/bin/python3.11") == "/usr/bin/python3.11"
