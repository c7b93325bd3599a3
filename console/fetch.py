"""Fetch one image from the web for the person who asked for it, within a bound of bytes and of time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import requests

from console.items import without_secrets
from labelwheel.errors import InputError

TIMEOUT = (5, 15)  # seconds to connect, and between two pieces
WHOLE_SECONDS = 120  # a server that drips keeps to both of the above for ever
REDIRECTS = 5


def fetch(url: str, max_bytes: int) -> tuple[bytes, datetime]:
    """The bytes at an http(s) address, and when they were taken as far as the server knows. Raises InputError."""
    with requests.Session() as session:  # a session of its own: no token of ours goes there
        session.max_redirects = REDIRECTS
        try:
            with session.get(url, stream=True, timeout=TIMEOUT) as answer:
                if not answer.ok:
                    raise InputError(f"{without_secrets(url)} is answered with HTTP {answer.status_code}.", "Check the address.")
                return _read(answer, max_bytes), _taken(answer)
        except (requests.RequestException, ValueError) as error:  # requests lets some broken addresses through as ValueError
            raise InputError(f"{without_secrets(url)} cannot be fetched ({type(error).__name__}).", "Check the address.") from error


def _read(answer: requests.Response, max_bytes: int) -> bytes:
    pieces, size, end = [], 0, time.monotonic() + WHOLE_SECONDS
    for piece in answer.iter_content(64 * 1024):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise InputError(f"{without_secrets(answer.url)} has more than {max_bytes:,} bytes.", "Raise LABELWHEEL_MAX_IMAGE_BYTES.")
        if time.monotonic() > end:
            raise InputError(f"{without_secrets(answer.url)} took longer than {WHOLE_SECONDS} seconds.", "Fetch it by other means.")
    return b"".join(pieces)


def _taken(answer: requests.Response) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers["Last-Modified"]).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)
