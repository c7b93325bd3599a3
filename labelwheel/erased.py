"""The door of what was erased: a tombstone remembers which bytes nobody wants to see again."""

from __future__ import annotations

from labelwheel.database.tables import Image
from labelwheel.errors import ErasedError


def refuse_erased(image: Image | None) -> None:
    """Raises ErasedError for an image that somebody had erased; its bytes come from a camera, a task or a dataset."""
    if image is not None and image.erased_at is not None:
        message = f"Image {image.sha256[:12]} was erased on {image.erased_at:%Y-%m-%d}, and is not taken again."
        raise ErasedError(message, f"If it may come back: `labelwheel image allow {image.sha256[:12]}`.")
