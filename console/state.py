"""What a process of the console holds: settings, database, and a line to Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import BoundedSemaphore

from flask import current_app
from sqlalchemy.orm import Session

from console.progress import SEATS
from labelwheel.database import Database
from labelwheel.database.tables import Project
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.project import current_project
from labelwheel.settings import Settings
from sync.jobs import open_client


@dataclass(frozen=True)
class State:
    """One per app; nothing is connected before it is asked for."""

    settings: Settings
    database: Database
    seats: BoundedSemaphore = field(default_factory=lambda: BoundedSemaphore(SEATS))  # of streams of progress

    @cached_property
    def label_studio(self) -> LabelStudio:
        """The client that answers are written with; it keeps its access token while that is good."""
        return open_client(self.settings)

    @contextmanager
    def project(self) -> Iterator[tuple[Session, Project]]:
        """A read session and the connected project; NotFoundError when there is none yet."""
        with self.database.read() as session:
            yield session, current_project(session, self.settings)


def state() -> State:
    """The app's state."""
    found: State = current_app.extensions["labelwheel"]
    return found
