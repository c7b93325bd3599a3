"""Work begun ahead of its reader: in parallel, in order, and never more than a bounded number of results at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar


class Cancellable(Protocol):
    """Work begun: a future, or several together."""

    def cancel(self) -> object: ...


A = TypeVar("A")
B = TypeVar("B", bound=Cancellable)


def ahead(begin: Callable[[A], B], items: Iterable[A], window: int) -> Iterator[B]:
    """Yield `begin(item)` of each item in order, while at most `window` later ones are worked on or wait to be read.

    A reader that stops early leaves nothing behind: what has not begun is cancelled.
    """
    waiting: deque[B] = deque()
    try:
        for item in items:
            waiting.append(begin(item))
            if len(waiting) > window:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for work in waiting:
            work.cancel()
