"""Who may call: Label Studio with Basic auth, its webhooks with a secret header, cameras with the API token."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import current_app, request
from pydantic import SecretStr

from labelwheel.errors import UnauthorizedError
from labelwheel.settings import Settings

WEBHOOK_HEADER = "X-Labelwheel-Secret"

View = Callable[..., Any]


def settings() -> Settings:
    """The app's settings."""
    found: Settings = current_app.config["LABELWHEEL"]
    return found


def by_basic(view: View) -> View:
    """Label Studio's calls carry the Basic auth that its ML backend was registered with."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not _basic_fits():
            raise UnauthorizedError("Basic auth is missing or wrong.", "Run `labelwheel connect`: it registers the backend with its login.")
        return view(*args, **kwargs)

    return guarded


def by_token(view: View) -> View:
    """Cameras and scripts carry `Authorization: Bearer <LABELWHEEL_API_TOKEN>`."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not _token_fits():
            raise UnauthorizedError(
                "The API token is missing or wrong.", "Send `Authorization: Bearer` with LABELWHEEL_API_TOKEN of secrets.env."
            )
        return view(*args, **kwargs)

    return guarded


def by_webhook_secret(view: View) -> View:
    """Our webhook carries a secret header; START_TRAINING comes with Basic auth instead."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not _same(request.headers.get(WEBHOOK_HEADER, ""), settings().webhook_secret) and not _basic_fits():
            raise UnauthorizedError("The webhook's secret is missing or wrong.", "Run `labelwheel connect`: it registers the webhook.")
        return view(*args, **kwargs)

    return guarded


def by_any(view: View) -> View:
    """Whoever may enter some door: with the API token, or as Label Studio."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not _token_fits() and not _basic_fits():
            raise UnauthorizedError(
                "A login is missing or wrong.", "Send LABELWHEEL_API_TOKEN of secrets.env, or Label Studio's Basic auth."
            )
        return view(*args, **kwargs)

    return guarded


def _token_fits() -> bool:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return kind.lower() == "bearer" and _same(token, settings().api_token)


def _basic_fits() -> bool:
    try:
        given = request.authorization
    except ValueError:  # Werkzeug lets a header pass that is no base64
        return False
    if given is None or given.type != "basic":
        return False
    user_fits = hmac.compare_digest((given.username or "").encode(), settings().ml_backend_user.encode())
    return _same(given.password or "", settings().ml_backend_password) and user_fits


def _same(given: str, secret: SecretStr) -> bool:
    expected = secret.get_secret_value()
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
