"""A camera: sends frames to `POST /inspect` and reads the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from console.demo.images import Frame

TIMEOUT = (5, 30)  # seconds to connect, to answer
CONNECTIONS = 16

# A frame may be sent again at will: the server knows it by its external id.
RETRY = Retry(
    total=6,
    backoff_factor=0.4,
    backoff_max=8,
    backoff_jitter=0.2,
    status_forcelist=(429, 503),
    allowed_methods={"POST"},
    retry_after_max=10,
)


class Camera:
    """One client of ml_backend at `url`, known by its bearer `token`. Threads may share it."""

    def __init__(self, url: str, token: str) -> None:
        self._door = f"{url.rstrip('/')}/inspect"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=RETRY))

    def inspect(self, frame: Frame) -> dict[str, Any]:
        """Send one frame; the server's JSON. requests.RequestException when it refuses, or stays away through all retries."""
        fields = {"source": frame.source, "external_id": frame.external_id, "captured_at": _iso(frame)}
        answer = self._session.post(self._door, data=fields, files={"image": (_file_name(frame), frame.jpeg)}, timeout=TIMEOUT)
        if not answer.ok:
            refusal = f"{answer.status_code} for {frame.external_id}: {answer.text[:300]}"
            raise requests.HTTPError(f"{self._door} answered {refusal}", response=answer)
        body: dict[str, Any] = answer.json()
        return body

    def stream(self, frames: Iterable[Frame], progress: Callable[[int], None] | None = None, threads: int = 4) -> list[dict[str, Any]]:
        """Send all frames from `threads` threads; the answers in the frames' order. `progress` gets the count done so far."""
        answers = []
        with ThreadPoolExecutor(max_workers=threads) as pool:
            for answer in pool.map(self.inspect, frames):
                answers.append(answer)
                if progress:
                    progress(len(answers))
        return answers


def _iso(frame: Frame) -> str:
    return frame.captured_at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _file_name(frame: Frame) -> str:
    return frame.external_id.rsplit("/", 1)[-1]
