"""Who may see the console: programs with the API token, people with a login. Everything is refused by default.

A session cookie alone cannot change anything: whatever is not a safe method also needs the CSRF token, unless the
request carried the API token, which no browser sends by itself.
"""

from __future__ import annotations

import hashlib
import hmac
import time

from flask import Flask, Response, current_app, redirect, request, session, url_for
from flask_login import LoginManager, UserMixin, current_user, login_user
from flask_wtf import CSRFProtect
from pydantic import SecretStr
from werkzeug.wrappers import Response as AnyResponse

from console.guesses import Guesses
from console.state import state
from labelwheel.errors import LabelwheelError, SettingsError, UnauthorizedError
from labelwheel.settings import Settings

PUBLIC = {"health.health", "pages.login", "static", "bootstrap.static"}
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
WRONG_TOKEN_SECONDS = 0.25

csrf = CSRFProtect()
manager = LoginManager()


class TooManyGuesses(LabelwheelError):
    code = "too_many_guesses"
    status = 429


class Person(UserMixin):  # type: ignore[misc]
    """The one user. Its id follows the password: changing that ends every session."""

    def __init__(self, settings: Settings) -> None:
        secret = settings.secret_key.get_secret_value().encode()
        password = settings.console_password.get_secret_value().encode()
        self.id = f"{settings.console_user}:{hmac.new(secret, password, hashlib.sha256).hexdigest()[:32]}"


def protect(app: Flask, settings: Settings) -> None:
    """Put the guard before every request of `app`. SettingsError while a secret is empty: it would let everyone in."""
    for name in ("console_password", "api_token", "secret_key"):
        if not getattr(settings, name).get_secret_value():
            raise SettingsError(
                f"LABELWHEEL_{name.upper()} is empty.", "Run `labelwheel migrate`: it creates the secrets that are missing."
            )
    app.extensions["labelwheel.guesses"] = Guesses()
    csrf.init_app(app)
    manager.init_app(app)
    app.before_request(guard)


@manager.user_loader  # type: ignore[untyped-decorator]
def load_person(identity: str) -> Person | None:
    person = Person(state().settings)
    return person if hmac.compare_digest(identity.encode(), person.id.encode()) else None


def guard() -> AnyResponse | None:
    """Refuse who is not known, then what a foreign page may have sent. A redirect to the login for pages, 401 for the API."""
    if is_api() and "Authorization" in request.headers:
        _check_token()
        return None
    if request.endpoint not in PUBLIC and not current_user.is_authenticated:
        if not is_api():
            return redirect(url_for("pages.login"))
        raise UnauthorizedError("This needs the API token.", "Send `Authorization: Bearer` with LABELWHEEL_API_TOKEN of secrets.env.")
    if request.method not in SAFE_METHODS:
        csrf.protect()
    return None


def is_api() -> bool:
    return request.path.startswith("/api/")


def sign_in(user: str, password: str) -> bool:
    """Begin a session when both fit. TooManyGuesses after some failures from one address, whatever is sent then."""
    guesses: Guesses = current_app.extensions["labelwheel.guesses"]
    address, now = request.remote_addr or "", time.monotonic()
    if wait := guesses.wait(address, now):
        raise TooManyGuesses("Too many wrong passwords.", f"Try again in {wait:.0f} seconds.")
    settings = state().settings
    user_fits = hmac.compare_digest(user.encode(), settings.console_user.encode())
    if not (_same(password, settings.console_password) and user_fits):
        guesses.failed(address, now)
        return False
    guesses.forgive(address)
    session.clear()
    session.permanent = True
    return bool(login_user(Person(settings)))


def retry_later(response: Response) -> Response:
    """429 says when to come back."""
    if response.status_code == 429:
        response.headers["Retry-After"] = "60"
    if response.status_code == 401 and is_api():
        response.headers["WWW-Authenticate"] = 'Bearer realm="labelwheel"'
    return response


def _check_token() -> None:
    kind, _, token = request.headers["Authorization"].partition(" ")
    if kind.lower() != "bearer" or not _same(token, state().settings.api_token):
        time.sleep(WRONG_TOKEN_SECONDS)
        raise UnauthorizedError("The API token is wrong.", "Send `Authorization: Bearer` with LABELWHEEL_API_TOKEN of secrets.env.")


def _same(given: str, secret: SecretStr) -> bool:
    expected = secret.get_secret_value()
    return bool(expected) and hmac.compare_digest(given.encode(), expected.encode())
