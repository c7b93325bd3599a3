"""An RQ worker that outlives a Redis that was flushed or restarted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError
from rq import Worker, worker_registration
from rq.exceptions import StopRequested

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0


class LastingWorker(Worker):  # type: ignore[misc]
    """RQ registers a worker at birth only: after a flush it works on, but nobody sees it. This one registers anew."""

    max_connection_wait_time = 5.0  # RQ's minute is long for those who wait while Redis is back

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that we live; twice if Redis no longer knows us."""
        super().heartbeat(timeout, pipeline)
        if not self.is_horse and not self.connection.sismember(self.redis_workers_keys, self.key):
            worker_registration.register(self)
            self.connection.hset(self.key, mapping=self.serialize())


def work_on(make: Callable[[], Worker]) -> None:
    """Work until somebody asks to stop. RQ's worker gives up when Redis goes while a job begins or ends: then another takes its place."""
    worker: Worker | None = None
    while True:
        try:
            if worker is not None:
                worker.register_death()  # it could not say so itself, and what it had begun would count as worked on
            worker = make()
            worker.work(logging_level="WARNING")
            if worker._shutdown_requested_date:
                return
            time.sleep(AGAIN_SECONDS)
        except StopRequested:
            return
        except RedisError as error:
            log.warning("Redis does not answer", error=str(error))
            time.sleep(AGAIN_SECONDS)
