"""Signed image addresses: for a Label Studio that does not share our disk. The signature is the permission."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, send_file
from sqlalchemy import select

from labelwheel.database.tables import Image
from labelwheel.errors import ExpiredError, NotFoundError
from labelwheel.image_url import uri_of_token
from ml_backend.state import state

blueprint = Blueprint("images", __name__)


@blueprint.get("/images/<token>")
def image(token: str) -> Response:
    """The image's bytes. Cross-origin reads are allowed: Label Studio's page draws it onto a canvas."""
    uri = uri_of_token(token, state().settings)
    path = find(uri)
    response = send_file(path, max_age=24 * 3600)
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def find(uri: str) -> Path:
    """The file of a uri. ExpiredError when retention removed it, NotFoundError when it is lost or never was."""
    try:
        return state().store.path(uri)
    except NotFoundError:
        with state().database.read() as session:
            expired_at = session.scalar(select(Image.expired_at).where(Image.uri == uri))
        if expired_at is None:
            raise
        message = f"This image expired on {expired_at:%Y-%m-%d}."
        raise ExpiredError(message, "LABELWHEEL_RETENTION_DAYS says how long images stay.") from None
