"""The one line to a Label Studio server: SDK calls, raw reads, and every failure as an error of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import stamina

from labelwheel.errors import LabelStudioError, LabelStudioRefused, LabelStudioUnreachable

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk.base_client import LabelStudioBase

T = TypeVar("T")

CURE_ADDRESS = "Check that Label Studio runs and that LABELWHEEL_LABEL_STUDIO_URL is its address."
CURE_ACCESS = "Set LABELWHEEL_LABEL_STUDIO_TOKEN to a valid token of Label Studio (Account & Settings → Personal Access Token)."
CURE_SSRF = "Start Label Studio with ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false, so that it may call private addresses."
CURES = {
    401: CURE_ACCESS,
    403: "Give the token's user the rights of an administrator in Label Studio.",
    404: "Check that the project or task still exists in Label Studio and is visible to the token's user.",
    500: "Read Label Studio's log; on SQLite it also answers so when its database is locked.",
}
GATEWAY = (502, 503, 504)
FAULTY = (400, 413)  # what was sent does not fit, or is too much: sent again it would be refused again


class Connection:
    """A server, a token and a time limit. Safe to share between threads, not across a fork."""

    def __init__(self, url: str, token: str, timeout: float = 30) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token

    def call(self, act: Callable[[LabelStudioBase], T]) -> T:
        """Run one SDK call exactly once: the SDK's own retries would import tasks twice."""
        with as_our_errors(self.url):
            return act(self._sdk)

    @stamina.retry(on=LabelStudioUnreachable, attempts=3, wait_initial=0.2, timeout=None)
    def read(self, path: str, **query: Any) -> Any:
        """GET `path`, retried while the server is unreachable; return the JSON as it was sent, not as SDK models.

        A page past the end is None: Label Studio answers it with 404. Its first page is always there, so a 404 for that one is an error,
        as is one without JSON: a proxy whose Label Studio is being started answers so, too.
        """
        with as_our_errors(self.url):
            response = self._request(path, query)
            if response.status_code == 404 and query.get("page", 1) > 1 and _is_json(response):
                return None
            return _checked(response).json()

    def status(self, path: str) -> int:
        """The HTTP status that GET `path` is answered with, whatever it is."""
        with as_our_errors(self.url):
            return self._request(path.lstrip("/"), {}).status_code

    def authorization(self) -> str:
        """The `Authorization` header that lets us in, for what the SDK cannot fetch; a lapsed access token is renewed first."""
        with as_our_errors(self.url):
            return str(self._sdk._client_wrapper.get_headers()["Authorization"])

    @cached_property
    def _sdk(self) -> LabelStudioBase:
        # The base class: the public one imports pandas and nltk for exports, 2 s that each forked job would pay.
        from label_studio_sdk.base_client import LabelStudioBase

        if not self._token:
            raise LabelStudioError("There is no token for Label Studio.", CURE_ACCESS)
        # The trailing slash keeps a path prefix: the SDK joins the address of its token refresh to it.
        return LabelStudioBase(base_url=f"{self.url}/", api_key=self._token, timeout=self.timeout, max_retries=0)

    def _request(self, path: str, query: dict[str, Any]) -> httpx.Response:
        # The SDK's transport refreshes the token; its typed models would reshape what the mirror must keep as sent.
        transport = self._sdk._client_wrapper.httpx_client
        response: httpx.Response = transport.request(path, method="GET", params=query or None)
        return response


@contextmanager
def as_our_errors(url: str) -> Iterator[None]:
    """Turn what the SDK and httpx raise into LabelStudioError or LabelStudioUnreachable."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

    if not url:
        raise LabelStudioError(
            "Label Studio has no address: nothing is started here.", "Run `labelwheel up`, or set LABELWHEEL_LABEL_STUDIO_URL."
        )
    try:
        yield
    except httpx.TransportError as error:
        raise LabelStudioUnreachable(f"Label Studio at {url} does not answer ({_named(error)}).", CURE_ADDRESS) from error
    except ApiError as error:
        raise refusal(error.status_code, error.body) from error
    except (ParsingError, ValueError) as error:
        raise LabelStudioError(f"{url} answered something that is not Label Studio's JSON ({_named(error)}).", CURE_ADDRESS) from error


def refusal(status: int | None, body: Any) -> LabelStudioError:
    """The error for an HTTP status and the body that came with it."""
    reason = explain(body)
    if status in GATEWAY:
        return LabelStudioUnreachable(f"The proxy before Label Studio answered {status}: {reason}", CURE_ADDRESS)
    if "reserved network address" in reason:
        return LabelStudioError(f"Label Studio refuses to call a private address: {reason}", CURE_SSRF)
    kind = LabelStudioRefused if status in FAULTY else LabelStudioError
    return kind(f"Label Studio answered {status}: {reason}", CURES.get(status or 0, ""))


def explain(body: Any) -> str:
    """What a refusal says, in one short line: `detail`, the validation errors, else the start of the text."""
    if isinstance(body, dict):
        faults = body.get("validation_errors")
        body = _faults(faults) if isinstance(faults, dict) and faults else body.get("detail") or body
    text = " ".join(str(body).split())
    return "a page of HTML" if text.lower().startswith(("<!doctype", "<html")) else text[:500]


def _faults(by_field: dict[str, Any]) -> str:
    listed = {field: notes if isinstance(notes, list) else [notes] for field, notes in by_field.items()}
    return "; ".join(f"{field}: {' '.join(str(note) for note in notes)}" for field, notes in listed.items())


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    raise refusal(response.status_code, response.json() if _is_json(response) else response.text)


def _is_json(response: httpx.Response) -> bool:
    return "json" in response.headers.get("content-type", "")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")[:300]
