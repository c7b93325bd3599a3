"""Who gets in: nobody without a token or login, no foreign page with somebody's cookie, no guesser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import func, select

from console import auth
from console.web import HEADERS, create_app
from labelwheel.database import Database
from labelwheel.database.tables import Project, TrainingRun
from labelwheel.errors import SettingsError
from labelwheel.settings import Settings
from tests.fixtures.wheel import PASSWORD

EXAMPLES = {"<int:item>": "1", "<int:run>": "1", "<sha256>": "0" * 64}
OPEN = {"/health", "/login", "/static/<path:filename>", "/bootstrap/static/<path:filename>"}


def doors(app: Flask) -> Iterator[tuple[str, str]]:
    """Every (method, path) that the app answers, except those meant for everybody."""
    for rule in app.url_map.iter_rules():
        if rule.rule not in OPEN:
            path = re.sub(r"<[^>]+>", lambda found: EXAMPLES[found.group()], rule.rule)  # a new kind of argument needs an example
            yield from ((method, path) for method in rule.methods - {"HEAD", "OPTIONS"})


def csrf_of(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found is not None, "the page has no CSRF token"
    return found.group(1)


def log_in(client: FlaskClient, password: str = PASSWORD):
    token = csrf_of(client.get("/login").text)
    return client.post("/login", data={"user": "engineer", "password": password, "csrf_token": token})


def runs(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count(TrainingRun.id))) or 0


def test_every_door_is_shut_without_credentials(app: Flask, filled: Project, database: Database) -> None:
    before, seen = runs(database), list(doors(app))
    assert len(seen) >= 10
    for method, path in seen:
        answer = app.test_client().open(path, method=method)
        if path.startswith("/api/"):
            assert answer.status_code == 401, f"{method} {path}"
            assert answer.json["error"]["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        else:
            assert (answer.status_code, answer.location) == (302, "/login"), f"{method} {path}"
    assert runs(database) == before


def test_every_api_door_opens_with_the_token_and_to_no_other(
    app: Flask, filled: Project, bearer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "WRONG_TOKEN_SECONDS", 0)
    for method, path in doors(app):
        if path.startswith("/api/"):
            assert app.test_client().open(path, method=method, headers=bearer).status_code in (200, 202, 404, 415), path
            for wrong in ("Bearer wrong", "Bearer ", "Bearer", "Basic YTpi", f"Bearer {bearer['Authorization']}", "Bearer é"):
                headers = {"Authorization": wrong}
                assert app.test_client().open(path, method=method, headers=headers).status_code == 401, f"{path} {wrong}"


def test_the_token_opens_no_page(app: Flask, bearer: dict[str, str]) -> None:
    assert app.test_client().get("/", headers=bearer).status_code == 302


def test_unknown_paths_tell_strangers_nothing(app: Flask) -> None:
    assert app.test_client().get("/api/secret").status_code == 401
    assert app.test_client().get("/secret").status_code == 302


def test_login_shows_the_page_and_logout_ends_it(app: Flask, filled: Project) -> None:
    client = app.test_client()
    answer = log_in(client)
    assert (answer.status_code, answer.location) == (302, "/")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    page = client.get("/")
    assert page.status_code == 200
    assert client.get("/api/overview").status_code == 200, "the page's own script comes with the cookie"
    assert client.post("/logout", data={"csrf_token": csrf_of(page.text)}).location == "/login"
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("path", ["/retrain", "/logout", "/api/retraining/trigger", "/api/labeling-queue/1/label"])
def test_a_cookie_alone_changes_nothing(app: Flask, filled: Project, database: Database, path: str) -> None:
    client, before = app.test_client(), runs(database)
    log_in(client)
    assert client.post(path).status_code == 400
    assert client.post(path, data={"csrf_token": "made up"}).status_code == 400
    assert runs(database) == before
    assert client.get("/").status_code == 200, "still logged in"


def test_the_page_token_lets_a_cookie_use_the_api(app: Flask, filled: Project) -> None:
    client = app.test_client()
    log_in(client)
    headers = {"X-CSRFToken": csrf_of(client.get("/").text)}
    assert client.post("/api/retraining/trigger", headers=headers).status_code == 202


def test_a_login_form_of_another_page_is_refused(app: Flask) -> None:
    assert app.test_client().post("/login", data={"user": "engineer", "password": PASSWORD}).status_code == 400


@pytest.mark.parametrize(("user", "password"), [("engineer", "wrong"), ("wrong", PASSWORD), ("engineer", ""), ("ïnjéct'--", "ü")])
def test_wrong_logins_stay_outside(app: Flask, user: str, password: str) -> None:
    client = app.test_client()
    token = csrf_of(client.get("/login").text)
    assert client.post("/login", data={"user": user, "password": password, "csrf_token": token}).status_code in (200, 401)
    assert client.get("/").status_code == 302


def test_guessing_is_stopped_even_when_the_next_guess_is_right(app: Flask) -> None:
    client = app.test_client()
    assert [log_in(client, f"guess {n}").status_code for n in range(5)] == [401] * 5
    stopped = log_in(client)
    assert stopped.status_code == 429
    assert int(stopped.headers["Retry-After"]) > 0
    assert client.get("/").status_code == 302


def test_a_new_password_ends_old_sessions(app: Flask, settings: Settings, filled: Project) -> None:
    client = app.test_client()
    log_in(client)
    cookie = client.get_cookie("labelwheel")
    assert cookie is not None
    after = create_app(settings.model_copy(update={"console_password": SecretStr("another")})).test_client()
    after.set_cookie("labelwheel", cookie.value)
    assert after.get("/").status_code == 302


@pytest.mark.parametrize("name", ["console_password", "api_token", "secret_key"])
def test_no_app_without_its_secrets(settings: Settings, database: Database, name: str) -> None:
    with pytest.raises(SettingsError, match=name.upper()):
        create_app(settings.model_copy(update={name: SecretStr("")}))


@pytest.mark.parametrize("path", ["/health", "/login", "/api/overview", "/static/overview.js", "/nothing"])
def test_headers_hold_on_every_answer(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    assert {name: headers.get(name) for name in HEADERS} == HEADERS
    assert "unsafe" not in headers["Content-Security-Policy"]
