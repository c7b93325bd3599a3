"""Label Studio's local files, read from its document root where we share that disk."""

from __future__ import annotations

from pathlib import Path

from labelwheel.errors import ImageError
from labelwheel.resolver.fetch import Fetched, Validators, too_large
from labelwheel.settings import Settings


def document_root(settings: Settings) -> Path | None:
    """The folder that Label Studio's `?d=` starts from on our disk; None when we share none."""
    if settings.label_studio_files is not None:
        return settings.label_studio_files.expanduser().resolve()
    return settings.media_dir.resolve() if settings.image_urls == "local-files" else None


def read_file(root: Path, relative: str, limit: int, known: Validators) -> Fetched | None:
    """The file's bytes, unless it is the known one. None when it is not there, no plain file, or linked out of the root.

    Links are followed and judged by where they end. Label Studio decides about what we do not find.
    """
    try:
        path = (root / relative).resolve(strict=True)
        if not path.is_relative_to(root) or not path.is_file():
            return None
        status = path.stat()
        validators = Validators(etag=f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}")
        if validators == known:
            return Fetched(None, known)
        if status.st_size > limit:
            raise too_large(relative, limit)
        with path.open("rb") as stream:
            return Fetched(stream.read(limit + 1), validators)
    except ImageError:
        raise
    except (OSError, ValueError, RuntimeError):  # gone, not ours to read, a loop of links, a name that no disk takes
        return None
