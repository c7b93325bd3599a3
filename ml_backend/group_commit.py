"""Group commit: what many requests have to write goes into one transaction, and each returns when the one that holds its own is committed.

A transaction costs about the same for a hundred rows as for one, and only one at a time may write to SQLite. There is no writer thread
that would have to be started, watched and carried over a fork: the request that comes first leads, and writes for all that have come by
then; those that come while it writes wait, and the first of them leads next. So nobody writes for others longer than one transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from labelwheel.errors import BackpressureError, NotWritten

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(eq=False)
class _Waiting(Generic[T]):
    """One entry in line. When it is woken it is done, or else it leads."""

    entry: T
    woken: threading.Event = field(default_factory=threading.Event)
    done: bool = False
    error: BaseException | None = None


class GroupCommit(Generic[T]):
    """`commit(entries)` writes and commits; it is called by one thread at a time, with at most `limit` entries."""

    def __init__(self, commit: Callable[[Sequence[T]], None], limit: int = 500) -> None:
        self._commit, self._limit = commit, limit
        self._lock = threading.Lock()
        self._line: list[_Waiting[T]] = []
        self._led = False  # whoever leads has its own entry in front of the line

    def submit(self, entry: T) -> None:
        """Return when the entry is committed.

        Raises NotWritten when the commit of its group failed, which everybody in it is told, and BackpressureError while `limit` others
        are in line: then nothing was taken.
        """
        mine = _Waiting(entry)
        if not self._enter(mine):
            mine.woken.wait()
        if not mine.done:
            self._lead()
        if mine.error is not None:
            raise NotWritten("The database did not take it.", "Look into the log of ml_backend.") from mine.error

    def _enter(self, mine: _Waiting[T]) -> bool:
        """Get in line; whether nobody leads, so that this one has to."""
        with self._lock:
            if len(self._line) >= self._limit:
                raise BackpressureError("Too many are waiting for the database.", "Come again later.")
            self._line.append(mine)
            leads, self._led = not self._led, True
        return leads

    def _lead(self) -> None:
        with self._lock:
            group, self._line = self._line, []
        error = self._written(group)
        with self._lock:
            following = self._line[:1]
            self._led = bool(following)
        for waiting in group:
            waiting.done, waiting.error = True, error
        for waiting in (*group, *following):
            waiting.woken.set()

    def _written(self, group: Sequence[_Waiting[T]]) -> BaseException | None:
        try:
            self._commit([waiting.entry for waiting in group])
        except BaseException as error:  # whoever waits must be told, whatever it was
            log.exception("group not committed", entries=len(group))
            return error
        return None
