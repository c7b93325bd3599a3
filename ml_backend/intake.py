"""Webhook intake: verify, write a hint, answer. Label Studio waits for one second in the annotator's own request.

A hint only says that something changed; the scheduler rings for a pull while hints wait, and the pull decides what is true.
So everything that arrives is reduced to an action and task ids, both spellings of Label Studio's actions and lists or singles alike.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from flask import Blueprint, request

from labelwheel import queue
from labelwheel.database import get_database
from labelwheel.database.insert import insert_or_add
from labelwheel.database.tables import Hint, hint_digest, utcnow
from labelwheel.errors import InputError
from ml_backend.auth import by_webhook_secret
from ml_backend.group_commit import GroupCommit
from ml_backend.state import state

blueprint = Blueprint("intake", __name__)

ACTION = re.compile("[A-Z_]{1,60}")
MAX_BODY = 16 * 2**20
PROJECT_EVENTS = ("PROJECT_CREATED",)
CREATED = ("TASK_CREATED", "TASKS_CREATED")
KEY = "labelwheel_key"
WAITING = Hint.handled_at.is_(None)


@dataclass(frozen=True, slots=True)
class Said:
    """What a webhook says, without its words."""

    project_id: int
    action: str
    task_ids: tuple[int, ...]

    @property
    def digest(self) -> str:
        return hint_digest(self.action, self.task_ids)


@blueprint.post("/webhook")
@by_webhook_secret
def webhook() -> tuple[dict[str, Any], int]:
    """Commits the hint before it answers, so that a crash right after loses nothing. "Start Training" asks for a run by hand."""
    request.max_content_length = MAX_BODY
    body = request.get_json(silent=True)
    action = body.get("action") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(action, str) or not ACTION.fullmatch(action):
        raise InputError("A webhook needs a JSON object with `action`.", "Let Label Studio call it.")
    project = state().recent_project()
    if project is None or action in PROJECT_EVENTS or _is_our_push(action, body) or not _about(body, project.ls_project_id):
        return {"status": "ignored"}, 200
    if action == "START_TRAINING":
        queue.enqueue("retrain.start")  # not rung: no row asks for it again, so whoever pressed the button is told when nobody hears
        return {"status": "asked"}, 202
    _line(state().database.url).submit(Said(project.id, action, tuple(task_ids(body))))
    return {"status": "noted"}, 202


@cache
def _line(database_url: str) -> GroupCommit[Said]:
    """The line of those who wait in this process for their hints to be written."""
    return GroupCommit(lambda said: note(database_url, said))


os.register_at_fork(after_in_child=_line.cache_clear)  # who stands in line, and who leads, is another process's affair


def note(database_url: str, said: Sequence[Said]) -> None:
    """Commit hints in one transaction; what a waiting hint says already is counted there."""
    times = Counter(said)
    rows = [
        {
            "project_id": one.project_id, "action": one.action, "task_ids": list(one.task_ids), "digest": one.digest, "times": times[one],
            "received_at": utcnow(),
        }
        for one in sorted(times, key=lambda one: one.digest)
    ]  # fmt: skip
    with get_database(database_url).write() as session:
        # Counted, so that a pull which has read the waiting one sees that it was said again since.
        insert_or_add(session, Hint, rows, ("project_id", "digest"), WAITING, "times")


def task_ids(body: dict[str, Any]) -> list[int]:
    """Label Studio's ids of the tasks that a webhook is about; deletions of annotations name none."""
    found = [body.get("task"), *_many(body.get("task")), *_many(body.get("tasks"))]
    ids = [entry.get("id") for entry in found if isinstance(entry, dict)]
    return sorted({value for value in ids if isinstance(value, int) and 0 < value < 2**63})


def _is_our_push(action: str, body: dict[str, Any]) -> bool:
    """Tasks that carry our key were made by us; those of others shall be seen."""
    made = [*_many(body.get("tasks")), *_many(body.get("task")), body.get("task")]
    data = [task.get("data") for task in made if isinstance(task, dict)]
    return action in CREATED and all(isinstance(entry, dict) and KEY in entry for entry in data)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _about(body: dict[str, Any], ls_project_id: int) -> bool:
    project = body.get("project")
    return not isinstance(project, dict) or project.get("id") in (None, ls_project_id)
