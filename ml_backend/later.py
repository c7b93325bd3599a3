"""Tasks that a batch had no time for: noted, predicted in the background, and stored through Label Studio's predictions API.

Label Studio waits 100 s for a batch of any size, and throws all of it away when the answer is late. What is noted here is in
the database, so a crash of anything loses none of it; what Label Studio holds is looked at before each import, so nothing doubles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import PredictionRequest, Project, utcnow
from labelwheel.errors import LabelStudioError, LabelStudioUnreachable, TooLate
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.lease import hold
from ml_backend.batch import Answer, Prediction, Task, id_of
from ml_backend.model import DetectorModel

log = structlog.get_logger(__name__)

CHUNK = 20
LEASE_SECONDS = 300  # a chunk whose images come from a server that hangs takes minutes
ANSWER_SECONDS = 120  # a batch that Label Studio put together before our import may ask for what was just stored

UNDER_WAY = "under_way"

Outcomes = dict[int, str]


@dataclass(frozen=True, slots=True)
class Progress:
    """Requests that wait (the oldest since `waiting_since`), and those that ended within a day, by outcome."""

    waiting: int
    waiting_since: datetime | None
    ended: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        since = self.waiting_since.isoformat() if self.waiting_since else None
        return {"waiting": self.waiting, "waiting_since": since, "ended": dict(self.ended)}


def answer(database: Database, project: Project, model: DetectorModel, tasks: Sequence[Task], seconds: float) -> list[Answer]:
    """A batch's answers within `seconds`: what is stored, and what fits. The rest is noted, and asked for in the background.

    A task opened alone is always answered. Of a batch, tasks that the background has in hand are left to it.
    """
    busy = _busy(database, project.id, tasks) if len(tasks) > 1 else set()
    answers = iter(model.answer([task for task in tasks if id_of(task) not in busy], seconds))
    given = [Answer(None, UNDER_WAY) if id_of(task) in busy else next(answers) for task in tasks]
    late = [found for task, said in zip(tasks, given, strict=True) if said.code == TooLate.code and (found := id_of(task))]
    if late:
        note(database, project.id, late)
        queue.ring("ml_backend.predict_later")
        log.info("batch cut short", tasks=len(tasks), later=len(late))
    return given


def _busy(database: Database, project_id: int, tasks: Sequence[Task]) -> set[int]:
    with database.read() as session:
        return under_way(session, project_id, [found for task in tasks if (found := id_of(task))], utcnow())


def note(database: Database, project_id: int, task_ids: Iterable[int]) -> None:
    """Ask for these tasks in the background; asking again for one that ended asks anew."""
    rows = [{"project_id": project_id, "ls_task_id": task_id, "asked_at": utcnow()} for task_id in dict.fromkeys(task_ids)]
    with database.write() as session:
        for chunk in _chunks(rows):
            insert_absent(session, PredictionRequest, chunk)
            again = _of(project_id, [row["ls_task_id"] for row in chunk])
            session.execute(
                update(PredictionRequest)
                .where(*again, PredictionRequest.ended_at.is_not(None))
                .values(ended_at=None, outcome=None, asked_at=utcnow())
            )


def under_way(session: Session, project_id: int, task_ids: Sequence[int], now: datetime) -> set[int]:
    """Those of the tasks that the background will store, or has just stored: a second answer would double their predictions."""
    stored = (PredictionRequest.outcome == "stored") & (PredictionRequest.ended_at > now - timedelta(seconds=ANSWER_SECONDS))
    live = or_(PredictionRequest.ended_at.is_(None), stored)
    return {
        found
        for chunk in _chunks(task_ids)
        for found in session.scalars(select(PredictionRequest.ls_task_id).where(*_of(project_id, chunk), live))
    }


def progress(session: Session, project_id: int, now: datetime) -> Progress:
    """How far the background is."""
    mine = PredictionRequest.project_id == project_id
    waits = select(func.count(), func.min(PredictionRequest.asked_at)).where(mine, PredictionRequest.ended_at.is_(None))
    waiting, since = session.execute(waits).one()
    recent = select(PredictionRequest.outcome, func.count()).where(mine, PredictionRequest.ended_at > now - timedelta(days=1))
    ended = session.execute(recent.group_by(PredictionRequest.outcome)).all()
    return Progress(waiting, since, {str(outcome): count for outcome, count in ended})


def work_off_each(database: Database, client: LabelStudio, served: Iterable[tuple[Project, DetectorModel]]) -> int:
    """`work_off` for each project: what Label Studio refuses of one holds up no other."""
    stored = 0
    for project, model in served:
        try:
            stored += work_off(database, client, project, model)
        except LabelStudioUnreachable:
            raise
        except LabelStudioError as error:
            log.warning("project left for later", ls_project=project.ls_project_id, error=error.message)
    return stored


def work_off(database: Database, client: LabelStudio, project: Project, model: DetectorModel) -> int:
    """Predict what waits, the longest first, and store it in Label Studio; return how many were stored. One at a time (a lease)."""
    stored = 0
    with hold(database, f"predict_later:{project.id}", LEASE_SECONDS) as lease:
        while lease and lease.renew() and (ids := _next(database, project.id)):
            outcomes = _store_or_end(client, project.ls_project_id, ids, model)
            _end(database, project.id, outcomes)
            stored += sum(outcome == "stored" for outcome in outcomes.values())
            log.info("predicted later", tasks=len(ids), stored=stored)
    return stored


def _store_or_end(client: LabelStudio, ls_project_id: int, ids: Sequence[int], model: DetectorModel) -> Outcomes:
    try:
        return _store(client, ls_project_id, ids, model)
    except LabelStudioError:
        if client.fetch_status(f"api/projects/{ls_project_id}/") == 404:  # it was deleted, and its tasks with it
            return dict.fromkeys(ids, "gone")
        raise


def _store(client: LabelStudio, ls_project_id: int, ids: Sequence[int], model: DetectorModel) -> Outcomes:
    """Predict first, then look at what Label Studio has, then import at once: the look is as fresh as can be."""
    before = client.tasks(ls_project_id, ids)
    answers = dict(zip(before, model.answer(list(before.values())), strict=True))
    now = client.tasks(ls_project_id, ids)
    there = {task_id: said for task_id, said in answers.items() if task_id in now}
    outcomes = dict.fromkeys(ids, "gone") | {task_id: said.code or "stored" for task_id, said in there.items()}
    absent = {task_id: said.prediction for task_id, said in there.items() if said.prediction and not _has(now[task_id], said.prediction)}
    return outcomes | _import(client, ls_project_id, absent)


def _import(client: LabelStudio, ls_project_id: int, predictions: Mapping[int, Prediction]) -> Outcomes:
    """Label Studio drops without a word what it does not like: after a wrong count it is asked which ones it took."""
    try:
        client.import_predictions(ls_project_id, [{"task": task_id, **found} for task_id, found in predictions.items()])
    except LabelStudioUnreachable:
        raise
    except LabelStudioError as error:
        log.warning("predictions refused", error=str(error), tasks=sorted(predictions))
        tasks = client.tasks(ls_project_id, predictions)
        taken = {task_id for task_id, task in tasks.items() if _has(task, predictions[task_id])}
        return {task_id: "stored" if task_id in taken else "refused" for task_id in predictions}
    return dict.fromkeys(predictions, "stored")


def _has(task: Task, prediction: Prediction) -> bool:
    return any(entry.get("model_version") == prediction["model_version"] for entry in task.get("predictions") or [])


def _next(database: Database, project_id: int) -> list[int]:
    query = select(PredictionRequest.ls_task_id).where(PredictionRequest.project_id == project_id, PredictionRequest.ended_at.is_(None))
    with database.read() as session:
        return list(session.scalars(query.order_by(PredictionRequest.asked_at, PredictionRequest.id).limit(CHUNK)))


def _end(database: Database, project_id: int, outcomes: Outcomes) -> None:
    with database.write() as session:
        for task_id, outcome in outcomes.items():
            session.execute(update(PredictionRequest).where(*_of(project_id, [task_id])).values(ended_at=utcnow(), outcome=outcome))


def _of(project_id: int, task_ids: Sequence[int]) -> tuple[Any, ...]:
    return PredictionRequest.project_id == project_id, PredictionRequest.ls_task_id.in_(task_ids)


def _chunks(items: Sequence[Any], size: int = 500) -> Iterable[Sequence[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
