"""A training as it goes on, told as server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html

A stream holds a thread of the web server. So there are few seats, and a stream ends with its run, with its client, with the server, and after
some minutes in any case: a browser's EventSource then comes again by itself.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, TrainingRun

SEATS = 3
LOOK_SECONDS = 1.0
BEAT_SECONDS = 2.0  # a client that has gone is noticed when something is written to it
MOST_SECONDS = 600.0
RETRY_MILLISECONDS = 15_000

Look = Callable[[], dict[str, Any] | None]


def active_run(database: Database, project_id: int) -> int | None:
    """The id of the run under way."""
    with database.read() as session:
        mine = TrainingRun.project_id == project_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES)
        return session.scalar(select(TrainingRun.id).where(*mine))


def look_at(database: Database, run_id: int) -> dict[str, Any] | None:
    """How far a run is: the data of an event."""
    with database.read() as session:
        run = session.get(TrainingRun, run_id)
    if run is None:
        return None
    progress = (run.metrics or {}).get("progress") or {}
    return {
        "run": run.id,
        "status": run.status,
        "percent": round(run.percent, 1),
        "eta_seconds": progress.get("eta_seconds"),
        "epoch": progress.get("epoch"),
        "epochs": progress.get("epochs"),
        "losses": progress.get("losses"),
        "error": run.error,
    }


def stream(look: Look, leave: Callable[[float], bool], clock: Callable[[], float] = time.monotonic) -> Iterator[str]:
    """Events of one run: `progress` with each change, `end` when it has ended, and a comment now and then. Pure but for what it is given.

    `look` tells the run; `leave(seconds)` waits for so long, and is true when it is time to end.
    """
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    begun = spoken = clock()
    told: dict[str, Any] | None = None
    while (seen := look()) is not None:
        ended = seen["status"] not in ACTIVE_RUN_STATUSES
        if seen != told:
            told, spoken = seen, clock()
            yield event("end" if ended else "progress", seen)
        elif clock() - spoken >= BEAT_SECONDS:
            spoken = clock()
            yield ": still there\n\n"
        if ended or clock() - begun >= MOST_SECONDS or leave(LOOK_SECONDS):
            return


def idle() -> Iterator[str]:
    """What is told while no run is under way."""
    yield f"retry: {RETRY_MILLISECONDS}\n\n"
    yield event("idle", {"run": None})


def event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
