"""How our web servers listen: no client holds a thread for long, and what is no HTTP is refused in the one shape of errors.

gunicorn's threads read a request without a bound once its first byte is there: as many clients as there are threads, each silent in
the middle of a request, would end the service.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from gunicorn.http.errors import LimitRequestHeaders, NoMoreData, ParseException
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import SocketUnreader
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import ThreadWorker

from labelwheel.errors import InputError, LabelwheelError

SILENCE_SECONDS = 10.0  # of a client in the middle of a request, or of its reading the answer
REQUEST_SECONDS = 60.0
PARTING_SECONDS = 2.0
LEAVING = threading.Event()  # set when this process is asked to end: what streams shall stop


class Message(Request):  # type: ignore[misc]
    """A request whose trailers, read by the app as the end of the body, fail like the rest of the body."""

    def parse_headers(self, data: bytes, from_trailer: bool = False) -> Any:
        try:
            return super().parse_headers(data, from_trailer)
        except ParseException as error:
            if from_trailer:
                raise NoMoreData from error
            raise


class Parser(RequestParser):  # type: ignore[misc]
    mesg_class = Message


class Reader(SocketUnreader):  # type: ignore[misc]
    """Reads from a client while it goes on sending, and no longer than `until`; then it counts as gone."""

    until = 0.0

    def chunk(self) -> bytes:
        try:
            self.sock.settimeout(min(max(self.until - time.monotonic(), 0.001), SILENCE_SECONDS))
            data: bytes = super().chunk()
        except TimeoutError as error:
            raise NoMoreData from error
        finally:
            self.sock.settimeout(SILENCE_SECONDS)
        return data


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with bounds on what a client may take."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        LEAVING.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        LEAVING.set()
        super().handle_quit(sig, frame)

    def handle(self, conn: Any) -> Any:
        if conn.parser is None:
            conn.parser = Parser(self.cfg, conn.sock, conn.client)
            conn.parser.unreader = Reader(conn.sock)
        conn.parser.unreader.until = time.monotonic() + REQUEST_SECONDS
        again = super().handle(conn)
        if again is False:
            _part(conn.sock)
        return again

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: Exception) -> None:
        """Answer what never reached the app."""
        if isinstance(exc, ParseException):
            self.log.info("no HTTP: %s", exc)
            status = 431 if isinstance(exc, LimitRequestHeaders) else 400
            answer = _answer(status, InputError(f"This is no HTTP: {exc}.", "Send a request."))
        else:
            self.log.error("request failed", exc_info=exc)
            answer = _answer(500, LabelwheelError("Something went wrong on our side.", "Look into the log."))
        with suppress(OSError):
            write_nonblock(client, answer)


def _part(client: socket.socket) -> None:
    """Let the client read its answer to the end. gunicorn would wait for that in the one thread that takes new connections."""
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        until = time.monotonic() + PARTING_SECONDS
        while (left := until - time.monotonic()) > 0:
            client.settimeout(left)
            if not client.recv(65536):
                break
        client.shutdown(socket.SHUT_RDWR)


def _answer(status: int, error: LabelwheelError) -> bytes:
    body = json.dumps(error.as_dict()).encode()
    head = f"HTTP/1.1 {status} Refused\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
