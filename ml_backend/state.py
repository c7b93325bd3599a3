"""What a process of ml_backend holds: settings, database, image store and the models that serve the connected project."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from flask import current_app

from labelwheel.database import Database
from labelwheel.database.tables import Project
from labelwheel.errors import NotFoundError
from labelwheel.project import current_project, project_numbered
from labelwheel.resolver.resolve import Resolver
from labelwheel.serving import Follower, LineUp
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from ml_backend.pressure import Gauge

RECENT_SECONDS = 1.0
LONGEST_ID = 9  # digits: PostgreSQL asks for no number that its column cannot hold


@dataclass
class State:
    """One per process; cheap to make, nothing is loaded before it is asked for."""

    settings: Settings
    database: Database
    store: ImageStore
    _followers: dict[int, Follower] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unanswered: Counter[str] = field(default_factory=Counter)
    _recent: tuple[float, Project | None] = (float("-inf"), None)

    @cached_property
    def resolver(self) -> Resolver:
        return Resolver(self.settings, self.database, self.store)

    @cached_property
    def fetchers(self) -> ThreadPoolExecutor:
        """The threads that fetch images of tasks, for all requests together."""
        return ThreadPoolExecutor(self.settings.image_fetches, thread_name_prefix="fetch")

    @cached_property
    def decoders(self) -> ThreadPoolExecutor:
        """The threads that decode what is near; they never wait for another server."""
        return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def count_unanswered(self, codes: Mapping[str, int]) -> None:
        """Count tasks that were answered with nothing, by the code of the reason."""
        with self._lock:
            self._unanswered.update(codes)

    def unanswered(self) -> dict[str, int]:
        """Tasks answered with nothing since this process started, by the code of the reason."""
        with self._lock:
            return dict(self._unanswered)

    def project(self) -> Project:
        """The connected project; NotFoundError when there is none yet."""
        with self.database.read() as session:
            return current_project(session, self.settings)

    def named_project(self, wire: object) -> Project | None:
        """The project that Label Studio names "<id>.<created>" on the wire, the current one where it names none; None for a stranger."""
        number = str(wire or "").partition(".")[0]
        if not number:
            return self.project_or_none()
        if not number.isdecimal() or len(number) > LONGEST_ID:
            return None
        with self.database.read() as session:
            return project_numbered(session, self.settings, int(number))

    def recent_project(self) -> Project | None:
        """The connected project as it was a second ago at most: for a door at which there is much knocking."""
        looked, project = self._recent
        if project is None or time.monotonic() - looked > RECENT_SECONDS:
            project = self.project_or_none()
            self._recent = time.monotonic(), project
        return project

    def line_up(self, project_id: int) -> LineUp | None:
        """The models that serve a project now; None while there is no champion. Raises ModelError for a broken file."""
        with self._lock:
            follower = self._followers.setdefault(project_id, Follower(self.database, self.settings, project_id))
        return follower.current()

    @cached_property
    def gauge(self) -> Gauge:
        """Whether this process may take anything new."""
        return Gauge(self.database, self.settings)

    def project_or_none(self) -> Project | None:
        try:
            return self.project()
        except NotFoundError:
            return None


def state() -> State:
    """The app's state."""
    found: State = current_app.extensions["labelwheel"]
    return found
