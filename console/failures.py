"""Every failure has one shape: JSON for programs, one page for people, and never a traceback."""

from __future__ import annotations

import structlog
from flask import Flask, Response, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from console.auth import is_api
from labelwheel.errors import InputError, LabelwheelError
from labelwheel.wording import faults

log = structlog.get_logger(__name__)

CURES = {
    400: "Correct the request; `GET /api/openapi.json` describes it.",
    404: "Look at the address.",
    405: "Use one of the methods in the `Allow` header.",
    413: "Send less at once.",
    415: "Send JSON, with the header `Content-Type: application/json`.",
}


class QueryError(InputError):
    """A query parameter is unknown or out of range."""

    code = "bad_query"
    status = 422


def handle(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(LabelwheelError, refuse)
    app.register_error_handler(ValidationError, refuse_query)
    app.register_error_handler(CSRFError, refuse_forged)
    app.register_error_handler(HTTPException, refuse_http)
    app.register_error_handler(Exception, fail)


def refuse(error: LabelwheelError) -> Response:
    if is_api() or request.path == "/health":
        return make_response(jsonify(error.as_dict()), error.status)
    return make_response(render_template("error.html", error=error), error.status)


def refuse_query(error: ValidationError) -> Response:
    found = faults(error, lambda place: ".".join(map(str, place)) or "the query")
    return refuse(QueryError(f"The query does not fit: {found}.", "Correct the named parameters."))


def refuse_forged(error: CSRFError) -> Response:
    return refuse(_of("csrf", 400, "The form is too old, or another page sent it.", "Load the page again and repeat."))


def refuse_http(error: HTTPException) -> Response:
    """Werkzeug's refusals in our shape; headers like `Allow` stay."""
    status = error.code or 500
    answer = refuse(_of(error.name.lower().replace(" ", "_"), status, error.description or error.name, CURES.get(status, "")))
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            answer.headers[name] = value
    return answer


def fail(error: Exception) -> Response:
    log.exception("request failed", path=request.path)
    return refuse(_of("internal", 500, "Something went wrong on our side.", "Look into the log of the console."))


def _of(code: str, status: int, message: str, cure: str) -> LabelwheelError:
    error = LabelwheelError(message, cure)
    error.code, error.status = code, status
    return error
