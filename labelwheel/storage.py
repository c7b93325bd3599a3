"""The image store: files named by the SHA-256 of their bytes, so that writing twice is writing once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from labelwheel.errors import NotFoundError


class ImageStore:
    """A folder of images. A uri is relative to the root: `ab/abcdef….jpg`."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def put(self, data: bytes, sha256: str, suffix: str) -> str:
        """Keep the bytes durably and return their uri. Half-written files are never visible under a uri."""
        uri = f"{sha256[:2]}/{sha256}{suffix}"
        path = self.root / uri
        if not path.exists():
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
