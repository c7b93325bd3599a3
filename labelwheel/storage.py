"""The image store: files named by the SHA-256 of their bytes, so that writing twice is writing once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from labelwheel.errors import NotFoundError

SHARDS = tuple(f"{number:02x}" for number in range(256))
ASIDE = ".aside"  # where a file waits while it is decided that nobody needs it


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of the store: its uri, its size in bytes, and when it was last put (seconds since the epoch)."""

    uri: str
    size: int
    put_at: float


class ImageStore:
    """A folder of images. A uri is relative to the root: `ab/abcdef….jpg`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def put(self, data: bytes, sha256: str, suffix: str) -> str:
        """Keep the bytes durably and return their uri. Half-written files are never visible under a uri."""
        uri = f"{sha256[:2]}/{sha256}{suffix}"
        path = self.root / uri
        try:
            os.utime(path)  # a file that nobody's row names yet is left alone while it is young
        except FileNotFoundError:
            _write_durably(path, data)
        return uri

    def path(self, uri: str) -> Path:
        """The file of a uri. A uri that leads out of the root is not found."""
        path = (self.root / uri).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            raise NotFoundError(f"No image is stored under {uri!r}.", "It may have been erased; see `labelwheel doctor`.")
        return path

    def read(self, uri: str) -> bytes:
        return self.path(uri).read_bytes()

    def files(self, shard: str) -> Iterator[StoredFile]:
        """Every file of one shard (the first two digits), with what a writer that was killed left behind."""
        folder = self.root / shard
        for entry in os.scandir(folder) if folder.is_dir() else ():
            with suppress(FileNotFoundError):  # a draft that became its file meanwhile, or a file that somebody removed
                found = entry.stat(follow_symlinks=False)
                if S_ISREG(found.st_mode):
                    yield StoredFile(f"{shard}/{entry.name}", found.st_size, found.st_mtime)

    def discard(self, uri: str, needed: Callable[[str], bool]) -> bool:
        """Remove a file unless `needed(uri)`; True when it is gone.

        The question is asked while the file is out of sight. Whoever writes a row for it looks for the file afterwards and puts it
        again, so whichever of the two is first, no row is left without its file: no lock is held over database and disk.
        """
        aside = self._aside(uri)
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self.root / uri).replace(aside)
        except FileNotFoundError:
            return False
        return self._settle(uri, aside, needed)

    def settle_discards(self, needed: Callable[[str], bool]) -> None:
        """Bring what a killed `discard` left out of sight back, or remove it."""
        for aside in sorted((self.root / ASIDE).glob("*/*")):
            self._settle(f"{aside.parent.name}/{aside.name}", aside, needed)

    def _settle(self, uri: str, aside: Path, needed: Callable[[str], bool]) -> bool:
        if needed(uri):
            with suppress(FileNotFoundError):  # another one settled it
                aside.replace(self.root / uri)  # equal bytes, should the file have been put again meanwhile
            return False
        aside.unlink(missing_ok=True)
        return True

    def _aside(self, uri: str) -> Path:
        return self.root / ASIDE / uri


def _write_durably(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        draft.chmod(0o644)  # Label Studio may run as another user of this disk
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)  # a full disk would fill up with drafts
