"""The whole loop on real parts, turned once by `labelwheel demo` under flushes of Valkey."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import psutil
import pytest
from dotenv import dotenv_values

from tests.fixtures import figures
from tests.fixtures.turn import COMMAND, LIMIT_SECONDS, Turn

pytestmark = pytest.mark.timeout(LIMIT_SECONDS + 300)  # whichever test comes first pays for the demo

LOOPBACK = {"127.0.0.1", "::1"}


def test_the_wheel_turns(turn: Turn) -> None:
    assert turn.returncode == 0, turn.output[-4000:]
    assert turn.report["ok"]


def test_every_claim_of_the_report_holds(turn: Turn) -> None:
    assert [check for check in turn.report["checks"] if not check["ok"]] == []
    assert len(turn.report["checks"]) >= 14


def test_flushes_of_valkey_cost_nothing_but_ticks(turn: Turn) -> None:
    assert turn.flushes >= 3  # and the wheel turned all the same: see above
    assert turn.report["label_studio"]["tasks"] == turn.report["label_studio"]["keys"]


def test_label_studio_stays_healthy_while_training_runs(turn: Turn) -> None:
    assert turn.health_failures == 0
    ordered = sorted(turn.health_seconds)
    seen = {"asked": len(ordered), "p50": ordered[len(ordered) // 2], "p99": ordered[int(len(ordered) * 0.99)], "max": ordered[-1]}
    figures.write("acceptance/health.json", {"seconds": seen, "demo": turn.report["seconds"], "seed": turn.report["seed"]})


def test_nothing_listens_outside_loopback(turn: Turn) -> None:
    ours = [process for process in psutil.process_iter() if _home_of(process) == str(turn.settings.home)]
    listening = [entry for process in ours for entry in process.net_connections(kind="inet") if entry.status == psutil.CONN_LISTEN]
    assert len(listening) >= 3  # Label Studio, ml_backend, console
    assert {entry.laddr.ip for entry in listening} <= LOOPBACK


def test_no_secret_stands_in_a_log(turn: Turn) -> None:
    secrets = {key: value for key, value in dotenv_values(turn.settings.secrets_file).items() if value}
    assert len(secrets) >= 7
    texts = {path.name: path.read_text(errors="replace") for path in turn.settings.log_dir.rglob("*") if path.is_file()}
    texts["the demo's output"] = turn.output
    leaks = [(name, key) for name, text in texts.items() for key, value in secrets.items() if value in text]
    assert leaks == []


def test_secrets_are_readable_by_their_owner_only(turn: Turn) -> None:
    for path in (turn.settings.secrets_file, turn.settings.addresses_file):
        assert path.stat().st_mode & 0o077 == 0


def test_doctor_finds_nothing(turn: Turn) -> None:
    environment = {**os.environ, "LABELWHEEL_HOME": str(turn.settings.home)}
    done = subprocess.run([*COMMAND, "doctor", "--json"], env=environment, capture_output=True, text=True, timeout=120, cwd=Path.cwd())
    codes = [fault["code"] for fault in json.loads(done.stdout)]
    assert codes == [], done.stdout


def _home_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("LABELWHEEL_HOME", "")
    except psutil.Error:
        return ""


@pytest.mark.parametrize("word", ["Traceback"])
def test_the_demo_shows_no_traceback(turn: Turn, word: str) -> None:
    assert word not in turn.output
