"""One training run as its stages see it: where its files are, and its row, which is written only while the run is wanted."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Project, TrainingRun, utcnow
from labelwheel.errors import NotFoundError
from labelwheel.registry import Registry
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from retrain.training.launch import Cancelled

BEAT_SECONDS = 2.0
LOCK, CONTROL_LOCK = "run.lock", "control.lock"  # in a run's folder: whoever works it, or its control, holds them
CONTROL = "control"  # in a run's folder: all that the control makes
EXPORTED, TRAINED, SETTLED = 5.0, 90.0, 99.0  # percent of a run: its dataset is there, its weights are, it is about to serve


@dataclass
class Work:
    """A run being worked. Nothing is kept in memory that a restart would miss."""

    database: Database
    settings: Settings
    run_id: int
    _beaten: float = 0.0

    def row(self) -> TrainingRun:
        with self.database.read() as session:
            row = session.get(TrainingRun, self.run_id)
        if row is None:
            raise NotFoundError(f"There is no training run {self.run_id}.", "`labelwheel runs` lists them.")
        return row

    def set(self, **values: Any) -> None:
        """Write to the row, with a heartbeat. Raises Cancelled when somebody ended the run meanwhile."""
        with self.database.write() as session:
            self.claim(session, **values)

    def claim(self, session: Session, **values: Any) -> None:
        """Write to the row in a transaction that is to count only while the run is wanted. Raises Cancelled."""
        mine = update(TrainingRun).where(TrainingRun.id == self.run_id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES))
        if not session.execute(mine.values(heartbeat_at=utcnow(), **values)).rowcount:  # type: ignore[attr-defined]
            raise Cancelled(f"Training {self.run_id} was ended from outside.")

    def beat(self, **values: Any) -> None:
        """`set`, but at most every two seconds: cheap enough for a loop over images."""
        if time.monotonic() - self._beaten >= BEAT_SECONDS:
            self._beaten = time.monotonic()
            self.set(**values)

    def key(self) -> str:
        """The run's name beyond our database: a new database counts from 1 again, MLflow may be shared."""
        with self.database.read() as session:
            run = session.get_one(TrainingRun, self.run_id)
            salt = session.get_one(Project, run.project_id).salt
        return f"{salt[:8]}-{self.run_id}"

    @cached_property
    def registry(self) -> Registry:
        return Registry(self.settings.mlflow_uri, self.settings.home / "mlflow" / "artifacts")

    @property
    def store(self) -> ImageStore:
        return ImageStore(self.settings.images_dir)

    @property
    def folder(self) -> Path:
        """Scratch of this run; may go when the run has ended."""
        return self.settings.home / "runs" / str(self.run_id)

    @property
    def models(self) -> Path:
        """Where the run's model stays: by its key, for another database's run of this number may have one that serves there."""
        return self.settings.home / "models" / f"run-{self.key()}"

    @property
    def datasets(self) -> Path:
        return self.settings.home / "datasets"
