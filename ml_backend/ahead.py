"""Work begun ahead of its reader: in parallel, in order, and never more than a bounded number of results at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def ahead(begin: Callable[[A], Future[B]], items: Iterable[A], window: int) -> Iterator[Future[B]]:
    """Yield `begin(item)` of each item in order, while at most `window` later ones are worked on or wait to be read.

    A reader that stops early leaves nothing behind: what has not begun is cancelled.
    """
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(begin(item))
            if len(waiting) > window:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for future in waiting:
            future.cancel()
