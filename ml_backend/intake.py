"""Webhook intake: verify, write a hint, answer. Label Studio waits for one second in the annotator's own request.

A hint only says that something changed; the scheduler rings for a pull while hints wait, and the pull decides what is true.
So everything that arrives is reduced to an action and task ids, both spellings of Label Studio's actions and lists or singles alike.
"""

from __future__ import annotations

import re
from typing import Any

from flask import Blueprint, request

from labelwheel import queue
from labelwheel.database.tables import Hint
from labelwheel.errors import InputError
from ml_backend.auth import by_webhook_secret
from ml_backend.state import state

blueprint = Blueprint("intake", __name__)

ACTION = re.compile("[A-Z_]{1,60}")
MAX_BODY = 16 * 2**20
IGNORED = ("PROJECT_CREATED", "TASKS_CREATED")  # our own pushes


@blueprint.post("/webhook")
@by_webhook_secret
def webhook() -> tuple[dict[str, Any], int]:
    """Commits the hint before it answers, so that a crash right after loses nothing. "Start Training" asks for a run by hand."""
    request.max_content_length = MAX_BODY
    body = request.get_json(silent=True)
    action = body.get("action") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(action, str) or not ACTION.fullmatch(action):
        raise InputError("A webhook needs a JSON object with `action`.", "Let Label Studio call it.")
    project = state().project_or_none()
    if project is None or action in IGNORED or not _about(body, project.ls_project_id):
        return {"status": "ignored"}, 200
    if action == "START_TRAINING":
        queue.enqueue("retrain.start")  # not rung: no row asks for it again, so whoever pressed the button is told when nobody hears
        return {"status": "asked"}, 202
    with state().database.write() as session:
        session.add(Hint(project_id=project.id, action=action, task_ids=task_ids(body)))
    return {"status": "noted"}, 202


def task_ids(body: dict[str, Any]) -> list[int]:
    """Label Studio's ids of the tasks that a webhook is about; deletions of annotations name none."""
    found = [body.get("task"), *_many(body.get("task")), *_many(body.get("tasks"))]
    ids = [entry.get("id") for entry in found if isinstance(entry, dict)]
    return sorted({value for value in ids if isinstance(value, int)})


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _about(body: dict[str, Any], ls_project_id: int) -> bool:
    project = body.get("project")
    return not isinstance(project, dict) or project.get("id") in (None, ls_project_id)
