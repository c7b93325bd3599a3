"""Start a run, or end one early. The row is the request; the doorbell only makes it prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Label, TrainingRun, utcnow
from labelwheel.errors import ConflictError
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from retrain.dataset import labels
from retrain.policy import TRAINED_TASK, why_not
from retrain.training.asked import read_asked
from retrain.training.start import start_of

NOTHING: Mapping[str, Any] = {}


def trigger(
    database: Database, settings: Settings, project_id: int, cause: str, decision: int | None = None, request: Mapping[str, Any] = NOTHING
) -> TrainingRun:
    """Queue a training run. `cause` is cold_start, new_labels or manual; `decision` the id of the policy's decision; `request` was checked.

    Raises ConflictError (409) while another run of the project is active.
    """
    try:
        with database.write() as session:
            newest_label = session.scalar(select(func.max(Label.id)).where(Label.project_id == project_id))
            seen = {"newest_label": newest_label or 0}
            run = TrainingRun(project_id=project_id, cause=cause, decision_id=decision, request=dict(request), metrics=seen)
            session.add(run)
    except IntegrityError as error:
        raise ConflictError("A training is already running.", "Wait until it has ended; the console shows how far it is.") from error
    queue.ring("retrain.run", run.id)
    return run


def by_hand(database: Database, settings: Settings, project_id: int, request: Mapping[str, Any] = NOTHING) -> TrainingRun:
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
        if not any(splits.get(image_id) == "train" for image_id in labels.approved(session, project_id)):
            message = "There is no approved label to train on."
            raise ConflictError(message, "Label images of the training split in Label Studio first; the next pull brings them.")
        start_of(session, project_id, asked.start, settings.model_name)  # says now what would be said in vain later
    return trigger(database, settings, project_id, "manual", request=asked.stored())


def cancel(database: Database, run_id: int) -> bool:
    """End an active run; its trainer is killed within seconds. False when it had ended already."""
    ended = update(TrainingRun).where(TrainingRun.id == run_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES))
    with database.write() as session:
        changed = session.execute(ended.values(status="cancelled", finished_at=utcnow()))
    return bool(changed.rowcount)  # type: ignore[attr-defined]
