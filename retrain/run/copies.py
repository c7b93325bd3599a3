"""Controls' working copies of old images: at rest, and to be removed, while one of these is erased."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import TrainingRun
from labelwheel.errors import AlreadyRunning
from retrain.run.work import CONTROL, CONTROL_LOCK


@contextmanager
def at_rest(database: Database, home: Path) -> Iterator[list[Path]]:
    """Folders of all controls that are due or left something. None of them is worked within; the sweep asks again. Raises AlreadyRunning."""
    with ExitStack() as stack:
        runs = [home / "runs" / name for name in sorted(_runs(database, home))]
        for run in runs:
            run.mkdir(parents=True, exist_ok=True)
            try:
                stack.enter_context(FileLock(run / CONTROL_LOCK, timeout=0))
            except Timeout as error:
                message = f"The control of training {run.name} is under way, and may be reading this image."
                raise AlreadyRunning(message, "Erase it when the control has ended: `labelwheel receipt` says so.") from error
        yield [run / CONTROL for run in runs]


def _runs(database: Database, home: Path) -> set[str]:
    with database.read() as session:
        due = session.scalars(select(TrainingRun.id).where(TrainingRun.control["state"].as_string() == "due"))
        return {str(run_id) for run_id in due} | {path.parent.name for path in home.glob(f"runs/*/{CONTROL}")}
