"""Where networks run: as many images at once as there are cores, first come first served, whichever model and request they belong to.

One image alone is given all cores, which is soonest done; of several at once each has one, which gets the most done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


class Lanes:
    """`count` threads in which work is done in the order of its coming."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="lane")
        self._present = 0
        self._lock = threading.Lock()

    def submit(self, act: Callable[[bool], T]) -> Future[T]:
        """Run `act(alone)` when its turn comes; it is `alone` while nothing else runs or waits."""
        self._come(1)
        future = self._pool.submit(self._run, act)
        future.add_done_callback(lambda done: self._come(-1) if done.cancelled() else None)
        return future

    def _run(self, act: Callable[[bool], T]) -> T:
        try:
            return act(self._present == 1)
        finally:
            self._come(-1)  # before whoever waits for the outcome goes on

    def _come(self, number: int) -> None:
        with self._lock:
            self._present += number


@cache
def get_lanes(threads: int) -> Lanes:
    """The process's lanes; `threads` 0: as many as there are cores."""
    return Lanes(threads or os.cpu_count() or 1)


os.register_at_fork(after_in_child=get_lanes.cache_clear)  # threads are not carried over
