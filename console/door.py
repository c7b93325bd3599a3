"""A client of the camera's door that waits: for room when asked to (429), and for a server that is away, or not started yet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import requests
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from console.whereabouts import NothingRuns
from labelwheel.errors import LabelwheelError

TIMEOUT = (5, 60)  # seconds to connect, to answer
AWAY = (502, 503, 504)  # a proxy speaks for a server that restarts
CLOSED = (401, 403, 404)  # every image would be refused alike
PAUSES = (0.5, 1, 2, 4, 8)
LONGEST_PAUSE = 120
BROKEN = 3  # times that a connection may break over one image while the server is well


class DoorClosed(LabelwheelError):
    """The door refuses us, whatever we send."""

    code = "door_closed"


class DoorSilent(LabelwheelError):
    """The door did not answer for as long as we wait."""

    code = "door_silent"
    status = 503


class Stopped(LabelwheelError):
    """The person pressed Ctrl-C."""

    code = "stopped"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one image: `new`, `known` or `refused`, and then why."""

    state: str
    reason: str = ""


class Door:
    """`POST /inspect` at `where()`, which is asked before each request: the token goes to nobody else.

    Threads may share it; `stopping` ends every wait; `patience` is in seconds, None for ever.
    """

    def __init__(
        self,
        where: Callable[[], str],
        token: str,
        *,
        patience: float | None = 60,
        stopping: threading.Event | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._where, self._patience, self._told = where, patience, told
        self.stopping = stopping or threading.Event()
        self._session = requests.Session()
        self._bearer = _Bearer(token)  # as a header alone, a .netrc would overrule it

    def known(self, asked: Mapping[str, str]) -> set[str]:
        """External ids, of those asked with their SHA-256, under which these very bytes are known."""
        answer = self._ask(lambda url: self._post(f"{url}/inspect/known", json={"captures": dict(asked)}))
        return set(answer.json()["known"]) if answer is not None and answer.ok else set()  # else each is told by itself what is wrong

    def send(self, source: str, external_id: str, captured_at: datetime, name: str, data: bytes) -> Answer:
        """Send one image. Raises DoorClosed, DoorSilent, NothingRuns, Stopped: for the others there is no sense in trying either."""
        fields = {"source": source, "external_id": external_id, "captured_at": captured_at.isoformat()}
        files = {"image": (name, data)}
        answer = self._ask(lambda url: self._post(f"{url}/inspect", data=fields, files=files))
        if answer is None:
            return Answer("refused", "The connection broke each time it was sent.")
        if answer.ok:
            return Answer("new" if answer.status_code == 201 else "known")
        return Answer("refused", _message(answer))

    def _post(self, address: str, **content: Any) -> requests.Response:
        return self._session.post(address, auth=self._bearer, timeout=TIMEOUT, **content)

    def _ask(self, send: Callable[[str], requests.Response]) -> requests.Response | None:
        """Ask until there is an answer; None when it is the request that breaks the connection."""
        broken, silent_since, url = 0, time.monotonic(), ""
        while not self.stopping.is_set():
            try:
                url = self._where()
                answer = send(url)
            except NothingRuns as error:
                pause = self._away(silent_since, error)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if not self._is_well(url):
                    pause = self._away(silent_since, _silent(url))
                elif (broken := broken + 1) == BROKEN:
                    return None
                else:
                    pause, silent_since = PAUSES[broken], time.monotonic()
            except requests.RequestException as error:
                raise DoorClosed(f"{url} cannot be asked ({type(error).__name__}).", "Correct LABELWHEEL_ML_BACKEND_URL.") from error
            else:
                if answer.status_code in CLOSED:
                    raise _closed(answer, url)
                if answer.status_code not in (429, *AWAY):
                    return answer
                silent_since = time.monotonic() if answer.status_code == 429 else silent_since
                pause = _pause(answer) if answer.status_code == 429 else self._away(silent_since, _silent(url))
                self._told(f"waiting: {_message(answer)}")
            self.stopping.wait(pause)
        raise Stopped("Stopped.")

    def _away(self, since: float, error: LabelwheelError) -> float:
        """How long to pause for a server that is away since then; raises `error` when that was too long."""
        gone = time.monotonic() - since
        if self._patience is not None and gone > self._patience:
            raise error
        self._told(f"waiting: {error.message}")
        return next((pause for pause in PAUSES if gone < 2 * pause), PAUSES[-1])

    def _is_well(self, url: str) -> bool:
        try:
            return self._session.get(f"{url}/health", timeout=5).ok
        except requests.RequestException:
            return False


def _silent(url: str) -> DoorSilent:
    return DoorSilent(f"ml_backend does not answer at {url}.", "Is `labelwheel up` running? What was sent is not sent again.")


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _pause(answer: requests.Response) -> float:
    """Seconds that a `Retry-After` asks for, given as seconds or as a date."""
    try:
        asked = Retry().parse_retry_after(answer.headers.get("Retry-After", "10"))
    except InvalidHeader:
        asked = 10.0
    return min(max(asked, 0.1), LONGEST_PAUSE)


def _closed(answer: requests.Response, url: str) -> DoorClosed:
    error = _error(answer)
    if "message" not in error:  # not our shape: another program has the port that ml_backend would have
        message = f"Something that is not ml_backend answers at {url} (HTTP {answer.status_code})."
        return DoorClosed(message, "Start `labelwheel up` in this folder, or correct LABELWHEEL_ML_BACKEND_URL.")
    return DoorClosed(error["message"], error.get("cure") or "Check its address.")


def _message(answer: requests.Response) -> str:
    error = _error(answer)
    return f"{error.get('message', '')} {error.get('cure', '')}".strip() or f"HTTP {answer.status_code}"


def _error(answer: requests.Response) -> dict[str, Any]:
    try:
        found = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}
