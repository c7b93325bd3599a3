"""An RQ worker that outlives a flushed Redis."""

from __future__ import annotations

from typing import Any

from rq import Worker, worker_registration


class LastingWorker(Worker):  # type: ignore[misc]
    """RQ registers a worker at birth only: after a flush it works on, but nobody sees it. This one registers anew."""

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Say that we live; twice if Redis no longer knows us."""
        super().heartbeat(timeout, pipeline)
        if not self.is_horse and not self.connection.sismember(self.redis_workers_keys, self.key):
            worker_registration.register(self)
            self.connection.hset(self.key, mapping=self.serialize())
