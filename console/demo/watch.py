"""The director's eyes: our REST API and Label Studio's, as any user sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests

T = TypeVar("T")


class DemoFailed(Exception):
    """A step was not observed in time."""


def demand(holds: bool, otherwise: str) -> None:
    """DemoFailed, saying `otherwise`, unless it holds."""
    if not holds:
        raise DemoFailed(otherwise[:1].upper() + otherwise[1:] + ".")


class Eyes:
    """Reads of the running system through its public doors."""

    def __init__(self, console_url: str, api_token: str, label_studio_url: str, label_studio_token: str) -> None:
        self._console, self._label_studio = console_url, label_studio_url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {api_token}"
        self._refresh_token = label_studio_token
        self._access, self._access_until = "", 0.0

    def api(self, path: str) -> Any:
        """GET one of our endpoints."""
        answer = self._session.get(f"{self._console}/api/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def label_studio(self, path: str, **query: Any) -> Any:
        """GET one of Label Studio's endpoints with the annotator's token."""
        if time.monotonic() > self._access_until:
            answer = requests.post(f"{self._label_studio}/api/token/refresh/", json={"refresh": self._refresh_token}, timeout=30)
            answer.raise_for_status()
            self._access, self._access_until = answer.json()["access"], time.monotonic() + 200
        headers = {"Authorization": f"Bearer {self._access}"}
        answer = requests.get(f"{self._label_studio}/api/{path}", params=query, headers=headers, timeout=60)
        answer.raise_for_status()
        return answer.json()


def until(
    what: str,
    look: Callable[[], T | None],
    seconds: float,
    pause: float = 0.5,
    *,
    how_far: Callable[[], str] = lambda: "",
    tell: Callable[[str], object] = lambda told: None,
) -> T:
    """Look until something is seen (not None, not False); DemoFailed after `seconds`. A door that is busy is tried again.

    What goes on may take as long as it likes: the seconds count from the last change of `how_far`, which says so in words. `tell` hears at
    each look what is waited for.
    """
    begun = moved = time.monotonic()
    far, trouble = "", ""
    while time.monotonic() < moved + seconds:
        try:
            if seen := look():
                return seen
            now = how_far()
            moved, far = (moved, far) if now == far else (time.monotonic(), now)
        except requests.RequestException as error:
            trouble = f" (last trouble: {type(error).__name__})"
        tell(f"waiting for {what}, {time.monotonic() - begun:.0f} s{f': {far}' if far else ''}")
        time.sleep(pause)
    came_to = f", {far}, without progress for {seconds:.0f} s" if far else ""
    raise DemoFailed(f"Not observed within {time.monotonic() - begun:.0f} s: {what}{came_to}{trouble}")
