"""Start a run, or end one early. The row is the request; the doorbell only makes it prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, TrainingRun, utcnow
from labelwheel.errors import ConflictError, NotFoundError
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from retrain.dataset import labels
from retrain.policy import TRAINED_TASK, label_set, why_not
from retrain.run.status import LISTED, find
from retrain.run.work import SETTLED
from retrain.training.asked import SCRATCH, read_asked
from retrain.training.start import start_asked

NOTHING: Mapping[str, Any] = {}


def trigger(
    database: Database,
    settings: Settings,
    project_id: int,
    cause: str,
    decision: int | None = None,
    request: Mapping[str, Any] = NOTHING,
    focus: Mapping[str, str] | None = None,
) -> TrainingRun:
    """Queue a training run. `cause` is the policy's, or manual; `decision` the id of the policy's decision; `request` was checked.

    `focus` is the slice that called for it: {"source": …} or {"class": …}.
    Raises ConflictError (409) while another run of the project is active.
    """
    with database.read() as session:
        seen = {"label_set": label_set(session, project_id)}
    try:
        with database.write() as session:
            run = TrainingRun(project_id=project_id, cause=cause, decision_id=decision, request=dict(request), metrics=seen)
            run.slice = dict(focus) if focus else None
            session.add(run)
    except IntegrityError as error:
        cure = "Wait until it has ended, or end it: `labelwheel cancel`. The console shows how far it is."
        raise ConflictError("A training is already running.", cure) from error
    queue.ring("retrain.run", run.id)
    return run


def by_hand(
    database: Database, settings: Settings, project_id: int, request: Mapping[str, Any] = NOTHING, who: str = "", note: str = ""
) -> TrainingRun:
    """Queue a run for a person, whatever the policy says. `request` may name its start and recipe: see `retrain.training.asked`.

    Raises InputError for a request that cannot be met, and ConflictError (409) also while there is nothing to train on, or no use in it.
    """
    asked = read_asked(request)
    with database.read() as session:
        champion = newest_deployment(session, project_id)
        if champion is not None and champion.model_version.task != TRAINED_TASK:
            cure = "Deploy a detection model as the champion, and this one for a tag of its own: see docs/how-to.md."
            raise ConflictError(why_not(champion.model_version.task), cure)
        splits = labels.splits(session, project_id)
        if not any(splits.get(image_id) == "train" for image_id in labels.usable(session, project_id)):
            message = "There is no approved label to train on."
            raise ConflictError(message, "Label images of the training split in Label Studio first; the next pull brings them.")
        start = start_asked(session, project_id, asked, settings.model_name)  # says now what would be said in vain later
    if start.version is None and asked.architecture:
        asked = asked.model_copy(update={"start": SCRATCH})  # also if a champion comes meanwhile
    said = {name: text for name, text in (("who", who), ("note", note)) if text}
    return trigger(database, settings, project_id, "manual", request={**asked.stored(), **said})


def cancel(database: Database, run_id: int, who: str = "", why: str = "") -> bool:
    """End an active run; its trainer is killed within seconds. False when it had ended already, or its model is about to serve."""
    said = f"Cancelled by {who}{f': {why}' if why else '.'}" if who else None
    ended = update(TrainingRun).where(TrainingRun.id == run_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES), TrainingRun.percent < SETTLED)
    with database.write() as session:
        changed = session.execute(ended.values(status="cancelled", finished_at=utcnow(), error=said))
    return bool(changed.rowcount)  # type: ignore[attr-defined]


def cancel_by_hand(database: Database, project_id: int, run_id: int | None, who: str, why: str = "") -> int:
    """End the run that a person names, or the active one; its id. NotFoundError when there is none, ConflictError when it has ended."""
    with database.read() as session:
        active = select(TrainingRun).where(TrainingRun.project_id == project_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES))
        run = session.scalar(active) if run_id is None else find(session, project_id, run_id)
    if run is None:
        raise NotFoundError("No training is under way.", LISTED)
    if not cancel(database, run.id, who, why):
        raise ConflictError(
            f"Training {run.id} has ended already, or its model is about to serve.", "Nothing is left to cancel: see `labelwheel rollback`."
        )
    return run.id
