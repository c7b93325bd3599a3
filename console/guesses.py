"""Slows down who guesses passwords: after some failures an address waits."""

from __future__ import annotations

import threading
from collections import defaultdict, deque

LIMIT = 5
SECONDS = 60.0


class Guesses:
    """Failures per address within the last `seconds`. In memory: a restart forgives."""

    def __init__(self, limit: int = LIMIT, seconds: float = SECONDS) -> None:
        self._limit, self._seconds = limit, seconds
        self._failures: defaultdict[str, deque[float]] = defaultdict(deque)
        self._lock = threading.Lock()

    def wait(self, address: str, now: float) -> float:
        """Seconds until `address` may try again; 0 when it may now."""
        with self._lock:
            recent = self._recent(address, now)
            return recent[-self._limit] + self._seconds - now if len(recent) >= self._limit else 0.0

    def failed(self, address: str, now: float) -> None:
        with self._lock:
            self._recent(address, now).append(now)

    def forgive(self, address: str) -> None:
        with self._lock:
            self._failures.pop(address, None)

    def _recent(self, address: str, now: float) -> deque[float]:
        failures = self._failures[address]
        while failures and failures[0] <= now - self._seconds:
            failures.popleft()
        return failures
