"""Ticks and the sweep: what makes the wheel turn by itself.

A tick is a row UNIQUE(name, fire time): whoever inserts it rings the bell, so two schedulers, a restart or a clock that
jumps ring once. The sweep asks the database what is due and rings for it again; it is why a flushed Redis costs one tick.
Webhooks leave hints in the database and ring nothing: while hints wait, the pull is rung for every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import structlog
from redis.exceptions import RedisError
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from sqlalchemy import Select, delete, exists, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import (
    ACTIVE_RUN_STATUSES,
    DEFAULT_TAG,
    Deployment,
    Hint,
    PredictionRequest,
    Project,
    QueueItem,
    Tick,
    TrainingRun,
    utcnow,
)
from labelwheel.errors import NotFoundError
from labelwheel.project import current_project, projects
from labelwheel.settings import Settings
from labelwheel.vision.label_config import CHAMPION

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 120
HINT_SECONDS = 3  # a busy annotator sends a webhook every few seconds, and every pull costs Label Studio as much as several clicks
KEEP_TICKS = timedelta(days=2)
KEEP_HINTS = timedelta(days=7)


def fire_time(now: datetime, seconds: int) -> datetime:
    """The start of the interval that `now` falls in, counted from the epoch: equal for every scheduler."""
    return datetime.fromtimestamp(int(now.timestamp()) // seconds * seconds, UTC)


def intervals(settings: Settings) -> dict[str, int]:
    """Seconds between the ticks of each scheduled job."""
    return {
        "sync.select": settings.tick_select,
        "sync.expire": settings.tick_expire,
        "sync.pull": settings.tick_pull,
        "sync.check": settings.tick_check,
        "retrain.consider": settings.tick_policy,
        "drift.check": settings.tick_drift,
        "ml_backend.retain": settings.tick_retention,
        "sweep": settings.tick_sweep,
    }


def turn(database: Database, settings: Settings, now: datetime) -> list[str]:
    """Fire every tick that is due at `now` and that nobody fired yet; return their names."""
    fired = [name for name, seconds in intervals(settings).items() if claim(database, name, fire_time(now, seconds))]
    for name in fired:
        if name == "sweep":
            sweep(database, settings, now)
        else:
            queue.ring(name)
    if _hints_wait(database, settings) and claim(database, "hints", fire_time(now, HINT_SECONDS)):
        queue.ring("sync.pull")
    return fired


def sweep(database: Database, settings: Settings, now: datetime) -> list[tuple[str, int | None]]:
    """Ring again for all work that the database says is due; return it."""
    with database.read() as session:
        due = list(due_work(session, settings, now))
    for name, argument in due:
        queue.ring(name, argument)
    _forget_lost_jobs()
    with database.write() as session:
        session.execute(delete(Tick).where(Tick.fire_time < now - KEEP_TICKS))
        session.execute(delete(Hint).where(Hint.handled_at < now - KEEP_HINTS))
    return due


def due_work(session: Session, settings: Settings, now: datetime) -> Iterator[tuple[str, int | None]]:
    """Jobs that the rows ask for, whatever Redis remembers."""
    project = _connected(session, settings)
    if project is not None:
        yield from _due_in_label_studio(session, project)
    served = [one.id for one in projects(session, settings).values()]
    if session.scalar(select(exists().where(PredictionRequest.project_id.in_(served), PredictionRequest.ended_at.is_(None)))):
        yield "ml_backend.predict_later", None
    silent = now - timedelta(seconds=HEARTBEAT_SECONDS)
    for run_id in session.scalars(_stalled_runs(silent)):
        yield "retrain.run", run_id
    for run_id in session.scalars(select(TrainingRun.id).where(TrainingRun.control["state"].as_string() == "due")):
        yield "retrain.control", run_id


def _due_in_label_studio(session: Session, project: Project) -> Iterator[tuple[str, int | None]]:
    """Of the project that the wheel turns for: no job would do what another one's rows ask for, and they would ask without end."""
    if session.scalar(select(exists().where(QueueItem.project_id == project.id, QueueItem.status == "pending", QueueItem.fault.is_(None)))):
        yield "sync.push", None
    for deployment_id in session.scalars(_unrefreshed(project.id)):
        yield "sync.refresh", deployment_id
    if project.adopt_after is not None:
        yield "sync.adopt", None


def _connected(session: Session, settings: Settings) -> Project | None:
    try:
        return current_project(session, settings)
    except NotFoundError:
        return None


def _unrefreshed(project_id: int) -> Select[int]:
    """The champion, while its tasks still show another version. A model of a tag asks for none: with it the champion is deployed anew."""
    mine = (Deployment.project_id == project_id, Deployment.role == CHAMPION.alias, Deployment.tag == DEFAULT_TAG)
    newest = select(func.max(Deployment.id)).where(*mine).scalar_subquery()
    return select(Deployment.id).where(Deployment.id == newest, Deployment.refreshed_at.is_(None))


def _stalled_runs(silent_since: datetime) -> Select[int]:
    silent = or_(TrainingRun.heartbeat_at.is_(None), TrainingRun.heartbeat_at < silent_since)
    return select(TrainingRun.id).where(TrainingRun.status.in_(ACTIVE_RUN_STATUSES), silent)


def _hints_wait(database: Database, settings: Settings) -> bool:
    """Of the project that the wheel turns for: those of another one would ring without end for a pull that is not theirs."""
    with database.read() as session:
        project = _connected(session, settings)
        waiting = exists().where(Hint.handled_at.is_(None), Hint.project_id == (project.id if project else None))
        return bool(session.scalar(select(waiting)))


def claim(database: Database, name: str, moment: datetime) -> bool:
    """Take the tick `name` at `moment` (a `fire_time`); False when somebody, anywhere, has taken it already."""
    with database.read() as session:  # most looks find the tick taken: do not queue for the write lock then
        if session.scalar(select(Tick.id).where(Tick.name == name, Tick.fire_time == moment)):
            return False
    try:
        with database.write() as session:
            session.add(Tick(name=name, fire_time=moment))
    except IntegrityError:
        return False
    return True


def _forget_lost_jobs() -> None:
    """Let RQ notice jobs whose worker and host vanished: they would block their id for hours otherwise."""
    try:
        for name in queue.QUEUES:
            bell = queue.get_queue(name)
            StartedJobRegistry(queue=bell, serializer=JSONSerializer).cleanup()
    except RedisError as error:
        log.warning("queue not cleaned", error=str(error))


def run(database: Database, settings: Settings, should_stop: Callable[[], bool], sleep: Callable[[float], object]) -> None:
    """Turn until `should_stop()`; `sleep(seconds)` waits. A failing turn is logged and tried again."""
    while not should_stop():
        try:
            turn(database, settings, utcnow())
        except Exception:
            log.exception("tick failed")
        sleep(1.0)
