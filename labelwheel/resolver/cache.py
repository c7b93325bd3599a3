"""Copies of images that live elsewhere: files named by the SHA-256 of their bytes, within a bound, shared by all processes of a home.

What is read is compared with its name, so that a torn or damaged copy is thrown away and never served; therefore nothing is
forced to disk. Whoever writes enough tidies up: the least recently used copies go first.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from labelwheel.vision.image import digest

LOCK = "tidying.lock"
DRAFT = ".draft-"
DRAFT_SECONDS = 3600  # an older draft was left by a process that died
SLACK = 8  # an eighth of the bound may be written before somebody tidies, and tidying makes so much room


class ImageCache:
    """A folder of copies that holds at most about `max_bytes`; with 0 nothing is kept."""

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._unseen = max_bytes  # what others have left here counts as written, until the first look
        self._lock = threading.Lock()

    def get(self, sha256: str) -> bytes | None:
        """The bytes of this digest, or None when there is no whole copy."""
        path = self._path(sha256)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        whole = digest(data) == sha256
        with suppress(OSError):  # tidied away meanwhile: we have the bytes
            os.utime(path) if whole else path.unlink()
        return data if whole else None

    def put(self, data: bytes, sha256: str) -> None:
        """Keep a copy. A disk that is full or broken costs the copy, not the caller."""
        if len(data) > self._max_bytes // SLACK or self._path(sha256).exists():
            return
        with suppress(OSError):
            self._write(self._path(sha256), data)
            self._count(len(data))

    def holds(self, sha256: str) -> bool:
        """Whether there is a copy of this digest, whole or not."""
        return self._path(sha256).is_file()

    def forget(self, sha256: str) -> bool:
        """Remove the copy of this digest; whether there was one."""
        try:
            self._path(sha256).unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, sha256: str) -> Path:
        return self._root / sha256[:2] / sha256

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=DRAFT, dir=path.parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _count(self, size: int) -> None:
        with self._lock:
            self._unseen += size
            if self._unseen < self._max_bytes // SLACK:
                return
            self._unseen = 0
        self._tidy()

    def _tidy(self) -> None:
        try:
            with FileLock(self._root / LOCK, timeout=0):
                _shrink(self._root, self._max_bytes - self._max_bytes // SLACK)
        except Timeout:
            return  # another process is at it


def _shrink(root: Path, wanted: int) -> None:
    """Remove forgotten drafts, then copies, the least recently used first, until at most `wanted` bytes are left."""
    found = []
    for path in root.glob("??/*"):
        with suppress(OSError):
            status = path.stat()
            if not path.name.startswith(DRAFT):
                found.append((status.st_mtime_ns, status.st_size, path))
            elif status.st_mtime < time.time() - DRAFT_SECONDS:
                path.unlink()
    surplus = sum(size for _, size, _ in found) - wanted
    for _, size, path in sorted(found):
        if surplus <= 0:
            return
        path.unlink(missing_ok=True)
        surplus -= size
