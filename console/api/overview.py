"""`GET /api/overview`: all that the page shows, with an ETag: the page asks every few seconds and mostly hears "as before"."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from console.overview import overview
from console.state import state

blueprint = Blueprint("overview", __name__, url_prefix="/api")


@blueprint.get("/overview")
def show() -> Response:
    with state().project() as (session, project):
        response = jsonify(overview(session, project, state().settings))
    response.add_etag()
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response
