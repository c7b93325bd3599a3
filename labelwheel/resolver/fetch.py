"""One image over HTTP: each hop allowed anew, streamed up to a limit, within a time, and not at all when it did not change."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import httpcore
import httpx

from labelwheel.errors import AddressRefused, FetchError, ImageError, NotFoundError
from labelwheel.labelstudio.connection import CURE_ACCESS
from labelwheel.resolver.address import read_url, shown
from labelwheel.resolver.allow import AllowList
from labelwheel.resolver.dial import Dial, within
from labelwheel.settings import Settings

REDIRECTS = 5
CLOSED = (httpcore.RemoteProtocolError, httpcore.ReadError)
REDIRECT_CODES = (301, 302, 303, 307, 308)
# The parts of Label Studio that hand out images; what else it answers is none of ours, and gets no token to answer with.
IMAGES_OF_LABEL_STUDIO = re.compile(r"/(data/|storage-data/|(tasks|projects)/\d+/(resolve|presign)/)")
VALIDATOR = re.compile(r"[\x20-\x7e]{1,300}")
CURE = "Open the address yourself; the task is asked for again at its next opening."


@dataclass(frozen=True, slots=True)
class Validators:
    """How a server lets itself be asked whether an image is still the same; both are empty where it has no way."""

    etag: str = ""
    modified: str = ""

    def __bool__(self) -> bool:
        return bool(self.etag or self.modified)


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes, or None when the image is the one that the caller knows."""

    data: bytes | None
    validators: Validators


class Fetcher:
    """Fetches images over http(s). Safe to share between threads; connections are kept and used again.

    `authorize` answers with Label Studio's `Authorization` header; it is sent to Label Studio only.
    """

    def __init__(self, settings: Settings, allowed: AllowList, authorize: Callable[[], str], dial: Dial | None = None) -> None:
        self._settings = settings
        self._allowed = allowed
        self._authorize = authorize
        self._dial = dial or Dial(allowed)

    def get(self, url: httpx.URL, known: Validators | None = None) -> Fetched:
        """Fetch an image. AddressRefused, FetchError or ImageError (too many bytes) say why it cannot be had."""
        try:
            with within(self._settings.image_total_seconds):
                return self._follow(url, known or Validators())
        except httpcore.TimeoutException as error:
            raise FetchError(f"{shown(str(url))} took too long ({type(error).__name__}).", CURE) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise FetchError(f"{shown(str(url))} cannot be reached ({type(error).__name__}: {error}).", CURE) from error

    def _follow(self, url: httpx.URL, known: Validators) -> Fetched:
        for _ in range(REDIRECTS + 1):
            url = self._reachable(url)
            found = self._one(url, known)
            if isinstance(found, Fetched):
                return found
            url = found
        raise FetchError(f"{shown(str(url))} is redirected more than {REDIRECTS} times.", CURE)

    def _reachable(self, url: httpx.URL) -> httpx.URL:
        """Label Studio's public address as the one that we reach it by."""
        public, inside = (
            str(httpx.URL(text)).rstrip("/") for text in (self._settings.label_studio_public_url, self._settings.label_studio_url)
        )
        text = str(url)
        return read_url(inside + text.removeprefix(public)) if public and text.startswith(f"{public}/") else url

    def _one(self, url: httpx.URL, known: Validators) -> Fetched | httpx.URL:
        """One hop: the image, or where it is said to be."""
        own = self._allowed.check_url(url).own
        try:
            return self._ask(url, known, own=own)
        except CLOSED:  # a server may close a kept connection just as we use it: once more, within the same time
            return self._ask(url, known, own=own)

    def _ask(self, url: httpx.URL, known: Validators, *, own: bool) -> Fetched | httpx.URL:
        settings = self._settings
        waits = {"connect": settings.image_connect_seconds, "read": settings.image_read_seconds, "write": settings.image_read_seconds}
        extensions = {"timeout": {**waits, "pool": settings.image_total_seconds}}
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with self._pool.stream("GET", target, headers=self._headers(url, known, own=own), extensions=extensions) as response:
            return self._read(url, response, known, own=own)

    def _headers(self, url: httpx.URL, known: Validators, *, own: bool) -> list[tuple[bytes, bytes]]:
        # Not `image/*`: Label Studio answers that with 406, though it has the image.
        named = {"Host": url.netloc.decode("ascii"), "User-Agent": "labelwheel", "Accept": "*/*", "Accept-Encoding": "identity"}
        if known.etag:
            named["If-None-Match"] = known.etag
        if known.modified:
            named["If-Modified-Since"] = known.modified
        prefix = httpx.URL(self._settings.label_studio_url).path.rstrip("/")
        if own and IMAGES_OF_LABEL_STUDIO.match(url.path.removeprefix(prefix)):
            named["Authorization"] = self._authorize()
        return [(name.encode(), value.encode("latin-1")) for name, value in named.items()]

    def _read(self, url: httpx.URL, response: httpcore.Response, known: Validators, *, own: bool) -> Fetched | httpx.URL:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in REDIRECT_CODES and "location" in headers:
            return _next(url, headers["location"])
        if response.status == 304 and known:
            return Fetched(None, known)
        if response.status in (404, 410):
            raise NotFoundError(f"There is no image at {shown(str(url))} ({response.status}).", "It was moved or deleted.")
        if response.status != 200:
            raise FetchError(
                f"{shown(str(url))} answered {response.status}.", CURE_ACCESS if own and response.status in (401, 403) else CURE
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise FetchError(f"{shown(str(url))} sends the image compressed once more.", CURE)
        return Fetched(self._body(url, response, headers.get("content-length", "")), _validators(headers))

    def _body(self, url: httpx.URL, response: httpcore.Response, announced: str) -> bytes:
        limit = self._settings.max_image_bytes
        data = bytearray()
        if not (announced.isdecimal() and (len(announced) > 15 or int(announced) > limit)):
            for chunk in response.iter_stream():
                data += chunk
                if len(data) > limit:
                    break
            else:
                return bytes(data)
        raise too_large(str(url), limit)

    @cached_property
    def _pool(self) -> httpcore.ConnectionPool:
        return httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=self._settings.image_fetches,
            max_keepalive_connections=self._settings.image_fetches,
            keepalive_expiry=30,
            network_backend=self._dial,
        )

    def close(self) -> None:
        self._pool.close()


def too_large(text: str, limit: int) -> ImageError:
    return ImageError(f"{shown(text)} has more than {limit:,} bytes.", "Compress it, or raise LABELWHEEL_MAX_IMAGE_BYTES.")


def _next(url: httpx.URL, location: str) -> httpx.URL:
    try:
        return read_url(str(url.join(location)))
    except (httpx.InvalidURL, ValueError) as error:
        raise AddressRefused(f"{shown(str(url))} is redirected to an address that cannot be used.") from error


def _validators(headers: dict[str, str]) -> Validators:
    """Those that can be sent back as they came."""
    etag, modified = (headers.get(name, "") for name in ("etag", "last-modified"))
    return Validators(etag if VALIDATOR.fullmatch(etag) else "", modified if VALIDATOR.fullmatch(modified) and len(modified) <= 100 else "")
