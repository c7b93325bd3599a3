"""Health: does a program really answer? A check gives "" when all is well, else what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Health = Callable[[], str]


@dataclass(frozen=True)
class HttpAnswers:
    """`GET url` answers 200 within two seconds."""

    url: str

    def __call__(self) -> str:
        import requests

        with requests.Session() as session:
            session.trust_env = False  # a proxy has no way to our loopback
            try:
                answer = session.get(self.url, timeout=2)
            except requests.RequestException as error:
                return f"{self.url} does not answer ({type(error).__name__})"
        return "" if answer.status_code == 200 else f"{self.url} answers {answer.status_code}"


@dataclass(frozen=True)
class ValkeyAnswers:
    """`PING` over the unix socket is answered."""

    socket: Path

    def __call__(self) -> str:
        import redis

        try:
            with redis.Redis(unix_socket_path=str(self.socket), socket_timeout=2) as client:
                client.ping()
        except redis.RedisError as error:
            return f"{self.socket} does not answer ({type(error).__name__})"
        return ""
