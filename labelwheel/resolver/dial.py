"""Connections to allowed addresses only, within a deadline.

A name is looked up once; every address that it leads to is judged, and the connection goes to one of those very addresses.
A name that changes its mind between check and use (DNS re-binding) therefore changes nothing. Host header and TLS keep the name.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

from labelwheel.errors import AddressRefused, FetchError
from labelwheel.resolver.allow import AllowList

Look = Callable[..., list[Any]]

_deadline: ContextVar[float] = ContextVar("deadline", default=float("inf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End what this thread sends and receives in the block after so many seconds, however slowly the other side drips."""
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class Dial(httpcore.NetworkBackend):
    """Opens TCP connections for httpcore; `look` is what turns a name into addresses."""

    def __init__(self, allowed: AllowList, look: Look = socket.getaddrinfo) -> None:
        self._allowed = allowed
        self._look = look
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._addresses(host, port)
        for address in addresses[:-1]:
            try:
                return self._connect(address, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(addresses[-1], port, timeout)

    def _addresses(self, host: str, port: int) -> list[str]:
        """What the name leads to, once each. One that is not open spoils them all: an honest name has none such among them."""
        try:
            found = self._look(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise FetchError(f"The name {host} leads nowhere ({error}).", "Check the address in the task's data.") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not addresses:
            raise AddressRefused(f"The name {host} leads nowhere.")
        for address in addresses:
            self._allowed.check_ip(host, port, ipaddress.ip_address(address))
        return addresses

    def _connect(self, address: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return Timed(self._plain.connect_tcp(address, port, _left(timeout, httpcore.ConnectTimeout)))


class Timed(httpcore.NetworkStream):
    """A stream whose every step ends at the deadline of `within`."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return Timed(self._stream.start_tls(ssl_context, server_hostname, _left(timeout, httpcore.ConnectTimeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    """The shorter of a step's own time and what the deadline leaves; raises `late` when that is over."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise late("the time for this image is over")
    return min(left, timeout) if timeout is not None else left if left != float("inf") else None
