"""A personal access token without a person: the login form, then Label Studio's token endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog

from labelwheel.errors import LabelStudioError
from labelwheel.labelstudio.connection import CURE_ADDRESS, as_our_errors, refusal

if TYPE_CHECKING:
    import httpx

log = structlog.get_logger(__name__)

CURE_LOGIN = "Set LABELWHEEL_LABEL_STUDIO_USERNAME and _PASSWORD, or reset it with `label-studio reset_password`."
CURE_DISABLED = "Enable personal access tokens in Label Studio (Organization → API Tokens Settings)."


def fetch_token(url: str, username: str, password: str, timeout: float = 30) -> str:
    """Log in and return a personal access token, valid until revoked.

    Label Studio shows a token once and allows a user only one. So an existing one is revoked first, whoever uses it:
    keep what this returns, and call it only when there is none that works.
    """
    import httpx

    with as_our_errors(url), httpx.Client(base_url=url, timeout=timeout, follow_redirects=True) as session:
        _log_in(session, username, password)
        answer = _post(session, "api/token/")
        if answer.status_code == httpx.codes.CONFLICT:
            _revoke_all(session)
            answer = _post(session, "api/token/")
        return str(_accepted(answer).json()["token"])


def _log_in(session: httpx.Client, username: str, password: str) -> None:
    page = session.get("user/login/")
    crumb = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    if not page.is_success or crumb is None:
        raise LabelStudioError(f"{page.url} is not Label Studio's login page.", CURE_ADDRESS)
    answer = session.post("user/login/", data={"email": username, "password": password, "csrfmiddlewaretoken": crumb[1]})
    if answer.url.path == page.url.path:  # the form again, with status 200
        raise LabelStudioError(f"Label Studio does not let {username} in with this password.", CURE_LOGIN)


def _revoke_all(session: httpx.Client) -> None:
    # The list shows tokens without their signature; revoking accepts that, rotating does not.
    tokens = _accepted(session.get("api/token/")).json()
    for entry in tokens:
        _accepted(_post(session, "api/token/blacklist/", {"refresh": entry["token"]}))
    log.warning("revoked the user's access tokens to make a new one", tokens=len(tokens))


def _post(session: httpx.Client, path: str, body: dict[str, str] | None = None) -> httpx.Response:
    return session.post(path, json=body or {}, headers={"X-CSRFToken": session.cookies.get("csrftoken") or ""})


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    if answer.status_code in (401, 403):
        raise LabelStudioError(f"Label Studio gives this user no access token ({answer.status_code}).", CURE_DISABLED)
    raise refusal(answer.status_code, answer.text)
