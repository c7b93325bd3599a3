"""Memory goes back to the system: glibc keeps what is freed, in an arena for each thread, and a server with models would only grow.

Elsewhere (musl, macOS) both functions do nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache

M_ARENA_MAX = -8  # of mallopt(3)
ARENAS = 2


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None


def share_arenas() -> None:
    """Let all threads allocate from a few arenas. For the start of a process: arenas that are there stay."""
    if library := _glibc():
        library.mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Hand what is free back to the system; milliseconds."""
    if library := _glibc():
        library.malloc_trim(0)
