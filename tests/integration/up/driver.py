"""`labelwheel up` with light programs: two real HTTP servers and, on demand, others. Run as a process of its own by the tests.

driver.py HOME [--detach] [--tries N] [--with PROGRAM]…
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from console import up
from console.up import render
from console.up.health import HttpAnswers
from console.up.programs import Program, Step, Task, embeds_valkey
from console.up.programs import plan as whole_plan
from labelwheel.errors import LabelwheelError
from labelwheel.settings import Settings, load_settings

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""
PATIENT = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).stat(); time.sleep(600)"


def server(name: str, port: int, **environment: str) -> Program:
    argv = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    return Program(name, argv, environment=environment, health=HttpAnswers(f"http://127.0.0.1:{port}/"), start_seconds=30, stop_seconds=3)


def extra(name: str, configured: Settings, live: Settings) -> Step:
    made: dict[str, Step] = {
        "broken": Program("broken", [sys.executable, "-c", "raise SystemExit('no disk, said the child')"], health=lambda: "silence"),
        "stubborn": Program("stubborn", [sys.executable, "-c", STUBBORN], stop_seconds=2),
        "missing": Program("missing", ["/nowhere/missing"]),
        "patient": Program("patient", [sys.executable, "-c", PATIENT, str(live.home / "go")]),
    }
    if name == "valkey" and embeds_valkey(configured):
        made["valkey"] = whole_plan(configured, live)[0]
    return made[name]


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("home", type=Path)
    arguments.add_argument("--detach", action="store_true")
    arguments.add_argument("--tries", type=int, default=10)
    arguments.add_argument("--mark", default="")
    arguments.add_argument("--with", dest="extras", action="append", default=[])
    given = arguments.parse_args()
    render.TRIES = given.tries

    def plan(configured: Settings, live: Settings) -> Sequence[Step]:
        first = [server("ml-backend", live.ml_backend_port), Task("between", lambda: (live.home / "between").touch())]
        return [*first, server("console", live.console_port, MARK=given.mark), *(extra(name, configured, live) for name in given.extras)]

    try:
        up.start(load_settings(given.home), detach=given.detach, on_ready=lambda live: print("READY", flush=True), plan=plan)
    except LabelwheelError as error:
        sys.exit(f"{error.code}: {error}")


if __name__ == "__main__":
    main()
