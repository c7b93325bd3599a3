"""A cancelled run ends its trainer within seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import Dataset, ModelVersion, Project, TrainingRun
from labelwheel.settings import Settings
from retrain import jobs
from retrain.dataset import labels
from retrain.run.trigger import cancel, trigger
from tests.integration.retrain.conftest import command_of


def test_cancel_kills_the_trainer(database: Database, settings: Settings, project: Project, label: Callable[..., None]) -> None:
    label(0, 8, "train")
    run = trigger(database, settings, project.id, "manual")
    job = threading.Thread(target=jobs.run, args=(run.id,))
    job.start()
    folder = settings.home / "runs" / str(run.id)
    _until(lambda: bool(_trainers(folder)))
    assert cancel(database, run.id)
    job.join(20)
    assert not job.is_alive()
    assert not _trainers(folder)
    with database.read() as session:
        cancelled = session.get_one(TrainingRun, run.id)
        assert cancelled.status == "cancelled" and cancelled.dataset_id is not None
        assert not labels.consumed(session, project.id) and not session.scalars(select(ModelVersion)).all()
        stored = session.get_one(Dataset, cancelled.dataset_id)
    assert not (folder / "fit").exists() and not (settings.home / "datasets" / stored.content_hash).exists()


def _trainers(folder: Path) -> list[int]:
    return [child.pid for child in psutil.Process().children(recursive=True) if str(folder) in command_of(child)]


def _until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.1)
