"""`GET /api/images/<sha256>`: the bytes of an image, for who shows or labels it with a program of their own."""

from __future__ import annotations

import re

from flask import Blueprint, Response, send_file
from sqlalchemy import select

from console.state import state
from labelwheel.database.tables import Image
from labelwheel.errors import ExpiredError, NotFoundError
from labelwheel.storage import ImageStore

blueprint = Blueprint("images", __name__, url_prefix="/api/images")

SHA256 = re.compile("[0-9a-f]{64}")


@blueprint.get("/<sha256>")
def image(sha256: str) -> Response:
    """The bytes as they arrived: who draws on them turns them upright first (EXIF)."""
    with state().project() as (session, project):
        mine = select(Image).where(Image.project_id == project.id, Image.sha256 == sha256)
        row = session.scalar(mine) if SHA256.fullmatch(sha256) else None
    if row is None:
        raise NotFoundError(f"There is no image {sha256[:12]!r}.", "Name it by the SHA-256 of its bytes: `image` of a queue item.")
    if row.expired_at is not None:
        raise ExpiredError(f"The bytes of image {sha256[:12]} expired on {row.expired_at:%Y-%m-%d}.", "Send the image again.")
    answer = send_file(ImageStore(state().settings.images_dir).path(row.uri), max_age=24 * 3600)
    answer.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return answer
