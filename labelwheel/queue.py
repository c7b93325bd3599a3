"""The doorbell: RQ on Redis or Valkey. The database is the truth; a flushed Redis costs one tick.

A job is a name and at most one id. Names map to functions here by their dotted path, so that a room can ask for another
room's work without importing it. While a job of the same name and id waits or runs, asking again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from labelwheel.errors import QueueUnreachable
from labelwheel.settings import get_settings

log = structlog.get_logger(__name__)

QUEUES = ("fast", "training")
ANSWER_SECONDS = 5
_ENDED = {JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED}


@dataclass(frozen=True, slots=True)
class JobKind:
    """Where a named job lives, which queue it waits in and how many seconds it may take."""

    function: str
    queue: str = "fast"
    timeout: int = 600


JOBS = {
    "sync.select": JobKind("sync.jobs.select"),
    "sync.expire": JobKind("sync.jobs.expire"),
    "sync.push": JobKind("sync.jobs.push"),
    "sync.pull": JobKind("sync.jobs.pull"),
    "sync.refresh": JobKind("sync.jobs.refresh", timeout=3600),
    "sync.check": JobKind("sync.jobs.check", timeout=3600),
    "sync.adopt": JobKind("sync.jobs.adopt", timeout=3600),
    "retrain.consider": JobKind("retrain.jobs.consider"),
    "retrain.start": JobKind("retrain.jobs.start"),
    "retrain.run": JobKind("retrain.jobs.run", queue="training", timeout=7 * 24 * 3600),
    "retrain.control": JobKind("retrain.jobs.control", queue="training", timeout=7 * 24 * 3600),
    "drift.check": JobKind("drift.jobs.check"),
    "ml_backend.predict_later": JobKind("ml_backend.jobs.predict_later", timeout=3600),
    "ml_backend.retain": JobKind("ml_backend.jobs.retain", timeout=3600),
}


@lru_cache(maxsize=4)
def connect(url: str) -> Redis:
    """A client for the Redis at `url` (redis://, rediss:// or unix://). Connects at first use; a server that hangs is given up."""
    return Redis.from_url(url, socket_connect_timeout=3, socket_timeout=ANSWER_SECONDS, health_check_interval=30)


def get_queue(name: str, url: str | None = None) -> Queue:
    return Queue(name, connection=connect(url or get_settings().redis_url), serializer=JSONSerializer)


def enqueue(name: str, argument: int | None = None) -> bool:
    """Ask for a job. False when the same one already waits or runs. Raises QueueUnreachable."""
    kind = JOBS[name]
    try:
        return _enqueue_once(get_queue(kind.queue), kind, _job_id(name, argument), argument)
    except RedisError as error:
        raise QueueUnreachable(
            "The job queue does not answer.", "Start it with `labelwheel up`, or correct LABELWHEEL_REDIS_URL."
        ) from error


def ring(name: str, argument: int | None = None) -> None:
    """Ask for a job, but do not mind a silent Redis: the sweep will ask again from what the database says is due."""
    try:
        enqueue(name, argument)
    except QueueUnreachable as error:
        log.warning("doorbell silent", job=name, argument=argument, error=error.message)


def _job_id(name: str, argument: int | None) -> str:
    return name.replace(".", "-") + ("" if argument is None else f"-{argument}")


def _enqueue_once(queue: Queue, kind: JobKind, job_id: str, argument: int | None) -> bool:
    options: dict[str, Any] = {"job_id": job_id, "unique": True, "job_timeout": kind.timeout, "result_ttl": 0, "failure_ttl": 3600}
    args = () if argument is None else (argument,)
    try:
        queue.enqueue(kind.function, args=args, **options)
    except DuplicateJobError:
        if not _clear_ended(queue, job_id):
            return False
        queue.enqueue(kind.function, args=args, **options)
    return True


def _clear_ended(queue: Queue, job_id: str) -> bool:
    """Remove the remains of a job that has ended, or lost its worker, and still block its id. True when the id is free."""
    try:
        job = Job.fetch(job_id, connection=queue.connection, serializer=JSONSerializer)
    except NoSuchJobError:
        return True
    status = job.get_status(refresh=False)
    if status not in _ENDED and not (status == JobStatus.STARTED and _is_orphan(job)):
        return False
    job.delete()
    return True


def _is_orphan(job: Job) -> bool:
    """Whether nobody works on it: its worker has died or is not known. Should a process of its live on nevertheless, leases keep the two apart."""
    worker = Worker.redis_worker_namespace_prefix + (job.worker_name or "")
    return bool(job.worker_name) and (not job.connection.exists(worker) or bool(job.connection.hexists(worker, "death")))
