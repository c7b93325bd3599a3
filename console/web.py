"""The console's web app: REST API and pages on one port. No torch, mlflow or evidently in this process."""

from __future__ import annotations

from datetime import datetime, timedelta

from flask import Flask, Response
from flask_bootstrap import Bootstrap5

from console import api, auth, failures, pages
from console.state import State
from labelwheel.database import get_database
from labelwheel.settings import Settings

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


def create_app(settings: Settings) -> Flask:
    """Build the app; nothing is connected before the first request. SettingsError while a secret is missing."""
    app = Flask("console")
    app.config.update(_config(settings))
    app.extensions["labelwheel"] = State(settings, get_database(settings.database_url))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.add_template_filter(moment)
    app.add_template_filter(zip)
    Bootstrap5(app)
    auth.protect(app, settings)
    failures.handle(app)
    for blueprint in (*api.BLUEPRINTS, pages.blueprint):
        app.register_blueprint(blueprint)
    app.after_request(auth.retry_later)
    app.after_request(secure)
    return app


def secure(response: Response) -> Response:
    """Nothing foreign is loaded, framed or guessed, and no proxy or back button keeps what a login showed."""
    response.headers.update(HEADERS)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response


def moment(text: str) -> str:
    """An ISO instant as people read it, in UTC; the page's script says how long ago it was."""
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def _config(settings: Settings) -> dict[str, object]:
    return {
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAX_CONTENT_LENGTH": 2**16,
        "BOOTSTRAP_SERVE_LOCAL": True,
        "SESSION_COOKIE_NAME": "labelwheel",  # cookies know no ports: Label Studio's own lie beside it
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.console_url.startswith("https:"),
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=12),
        "WTF_CSRF_CHECK_DEFAULT": False,  # the guard asks for it: it knows who came with a token
        "WTF_CSRF_TIME_LIMIT": None,  # a page left open over lunch still works; the token dies with the session
    }
