"""Where answers are given, and what stands there: one project, its Label Studio, and our rows of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.tables import LsTask, Project, QueueItem
from labelwheel.errors import ConflictError
from labelwheel.labelstudio.port import Studio
from labelwheel.project import current_classes, current_project
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from sync.exchange.reset import held
from sync.queue import find, show
from sync.review.reading import Reading, reading_of

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Where answers are given: one project, its Label Studio, and how its annotations are read."""

    database: Database
    settings: Settings
    client: Studio
    project: Project
    reading: Reading

    def item(self, item_id: int) -> QueueItem:
        """The item as it stands in our queue. NotFoundError where there is none."""
        with self.database.read() as session:
            return find(session, self.project.id, item_id)

    def task(self, item_id: int) -> LsTask | None:
        """Its newest task as we know it; None before it was pushed."""
        with self.database.read() as session:
            return session.scalar(select(LsTask).where(LsTask.queue_item_id == item_id).order_by(LsTask.id.desc()).limit(1))

    def classes(self) -> ClassMap:
        """The project's classes now."""
        with self.database.read() as session:
            return current_classes(session, self.project.id)

    def state(self, item_id: int) -> Json:
        """The item as doors show it, with labels, reviews and history: see `sync.queue.show`."""
        with self.database.read() as session:
            return show(session, self.project.id, item_id)


def open_window(database: Database, settings: Settings, client: Studio) -> Window:
    """What `sync.review.answer` works with; errors are those of `current_project` and `reading_of`. ConflictError while the pull is held."""
    with database.read() as session:
        project = current_project(session, settings)
        reading, pause = reading_of(session, project, settings), held(session, project.id)
    if pause:
        raise ConflictError(f"Label Studio is not believed just now: {pause.why}", "`labelwheel doctor` says what to decide.")
    return Window(database, settings, client, project, reading)
