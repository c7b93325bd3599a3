"""Backpressure: when nothing new is taken, and why. What is known already is answered all the same."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.tables import Capture, Image, QueueItem
from labelwheel.errors import BackpressureError
from labelwheel.settings import Settings

LOOK_SECONDS = 5.0
RING_SECONDS = 60.0

# Images whose bytes lie in our store: they came through the door, and did not expire. Rows alone may speak of images elsewhere.
STORED = (Image.expired_at.is_(None), Image.id.in_(select(Capture.image_id)))


class DiskFull(BackpressureError):
    code = "disk_full"
    retry_after = 30


class StoreFull(BackpressureError):
    code = "store_full"


class QueueFull(BackpressureError):
    code = "queue_full"
    retry_after = 30


@dataclass(frozen=True, slots=True)
class Load:
    """Free bytes on the images' disk, bytes of the image store, queue items that nobody has pushed yet."""

    free_bytes: int
    store_bytes: int
    pending: int


def excess(load: Load, settings: Settings) -> BackpressureError | None:
    """Why nothing new may be taken; None while all is well. Pure."""
    if load.free_bytes < settings.min_free_bytes:
        message = f"The disk has {_mb(load.free_bytes)} free; {_mb(settings.min_free_bytes)} are kept."
        return DiskFull(message, "Free some of it, or set LABELWHEEL_RETENTION_DAYS or LABELWHEEL_STORE_MAX_BYTES lower.")
    if settings.store_max_bytes and load.store_bytes >= settings.store_max_bytes:
        message = f"The image store holds {_mb(load.store_bytes)}; its bound is {_mb(settings.store_max_bytes)}."
        return StoreFull(message, "Retention makes room where it may (`labelwheel retention`); else raise LABELWHEEL_STORE_MAX_BYTES.")
    if settings.pending_max and load.pending >= settings.pending_max:
        message = f"{load.pending:,} queue items wait to be pushed; the bound is {settings.pending_max:,}."
        return QueueFull(message, "Look why Label Studio takes none: `labelwheel doctor`.")
    return None


def measure(session: Session, settings: Settings) -> Load:
    """The load of this moment."""
    stored = session.scalar(select(func.sum(Image.size)).where(*STORED))
    pending = session.scalar(select(func.count()).select_from(QueueItem).where(QueueItem.status == "pending"))
    return Load(free_bytes(settings.images_dir), int(stored or 0), pending or 0)


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that `folder` lies on, or will lie on."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


class Gauge:
    """The load of one process, measured at most every five seconds. Threads may share it."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = threading.Lock()
        self._excess: BackpressureError | None = None
        self._looked = self._rung = float("-inf")

    def check(self) -> None:
        """Raise BackpressureError while nothing new may be taken."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_SECONDS:
                self._look()
            excess = self._excess
        if excess is not None:
            raise type(excess)(excess.message, excess.cure)  # one object raised by many threads would gather their tracebacks

    def _look(self) -> None:
        with self._database.read() as session:
            self._excess = excess(measure(session, self._settings), self._settings)
        self._looked = time.monotonic()
        if isinstance(self._excess, StoreFull) and self._looked - self._rung >= RING_SECONDS:
            self._rung = self._looked
            queue.ring("ml_backend.retain")  # room now, not at the next tick


def _mb(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
