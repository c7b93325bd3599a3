"""Signed image addresses: for a Label Studio that does not share our disk. The signature is the permission."""

from __future__ import annotations

from flask import Blueprint, Response, send_file

from labelwheel.image_url import uri_of_token
from ml_backend.state import state

blueprint = Blueprint("images", __name__)


@blueprint.get("/images/<token>")
def image(token: str) -> Response:
    """The image's bytes. Cross-origin reads are allowed: Label Studio's page draws it onto a canvas."""
    path = state().store.path(uri_of_token(token, state().settings))
    response = send_file(path, max_age=24 * 3600)
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response
