"""The web app that Label Studio and cameras call. No torch and no mlflow in this process."""

from __future__ import annotations

from typing import Any

import structlog
from flask import Flask, request
from flask.json.provider import DefaultJSONProvider
from sqlalchemy import text
from werkzeug.exceptions import HTTPException

from labelwheel.database import get_database
from labelwheel.errors import BackpressureError, LabelwheelError
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from ml_backend import images, inspect, intake, openapi, protocol
from ml_backend.state import State, state

log = structlog.get_logger(__name__)

CURES = {
    400: "Correct the request; `GET /openapi.json` describes it.",
    404: "Look at the address; cameras post to /inspect.",
    405: "Use one of the methods in the `Allow` header.",
    413: "Send a smaller image, or raise LABELWHEEL_MAX_IMAGE_BYTES.",
    415: "Send JSON, with the header `Content-Type: application/json`.",
}


class Json(DefaultJSONProvider):
    """JSON that is nested too deeply for us is broken JSON."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        try:
            return super().loads(s, **kwargs)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error


def create_app(settings: Settings) -> Flask:
    """Build the app; nothing is loaded or connected before the first request."""
    app = Flask("ml_backend", static_folder=None)
    app.json = Json(app)
    app.config["LABELWHEEL"] = settings
    app.config["MAX_CONTENT_LENGTH"] = settings.max_image_bytes + 2**20
    app.extensions["labelwheel"] = State(settings, get_database(settings.database_url), ImageStore(settings.images_dir))
    for module in (protocol, inspect, intake, images, openapi):
        app.register_blueprint(module.blueprint)
    app.add_url_rule("/health", view_func=health)
    app.register_error_handler(LabelwheelError, _refuse)
    app.register_error_handler(HTTPException, _refuse_http)
    app.register_error_handler(Exception, _fail)
    return app


def health() -> dict[str, Any]:
    """Label Studio gives it one second: only the database is looked at. `unanswered` counts tasks by why nothing was answered."""
    with state().database.read() as session:
        session.execute(text("SELECT 1"))
    return {"status": "UP", "model_class": "DetectorModel", "unanswered": state().unanswered()}


def _refuse(error: LabelwheelError) -> tuple[dict[str, Any], int, dict[str, str]]:
    log.info("refused", path=request.path, status=error.status, code=error.code, reason=error.message)
    headers = {"WWW-Authenticate": 'Basic realm="labelwheel"'} if error.status == 401 else {}
    if isinstance(error, BackpressureError):
        headers["Retry-After"] = str(error.retry_after)
    return error.as_dict(), error.status, headers


def _refuse_http(error: HTTPException) -> tuple[dict[str, Any], int, dict[str, str]]:
    log.info("refused", path=request.path, method=request.method, status=error.code)
    body = {
        "error": {
            "code": error.name.lower().replace(" ", "_"),
            "message": error.description or error.name,
            "cure": CURES.get(error.code or 500, ""),
        }
    }
    kept = {name: value for name, value in error.get_headers() if name.lower() not in ("content-type", "content-length")}
    return body, error.code or 500, kept


def _fail(error: Exception) -> tuple[dict[str, Any], int]:
    log.exception("request failed")
    return LabelwheelError("Something went wrong on our side.", "Look into the log of ml_backend.").as_dict(), 500
