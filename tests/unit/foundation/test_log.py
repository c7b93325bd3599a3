"""Logs: one JSON object a line, and never a secret in it, wherever in an event it hides."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from labelwheel.log import MASK, configure_logging
from labelwheel.settings import Settings

SECRETS = ["s3cr3t-token", 'quo"ted\\key', "pässwörd"]


@dataclass(frozen=True)
class Holder:
    """An object that is no JSON: a logger falls back to its text."""

    inside: str


@pytest.fixture(scope="module")
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level, stderr = root.handlers[:], root.level, sys.stderr
    sys.stderr = io.StringIO()
    names = ("api_token", "secret_key", "webhook_secret")
    configure_logging(Settings(**{name: SecretStr(secret) for name, secret in zip(names, SECRETS, strict=True)}), "test")
    yield sys.stderr
    sys.stderr, root.handlers[:] = stderr, handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    stream.truncate(0)
    stream.seek(0)
    return [json.loads(line) for line in text.splitlines()]


def leaks(value: Any) -> bool:
    return any(secret in json.dumps(value, ensure_ascii=False) or secret in str(value) for secret in SECRETS)


hiding = st.tuples(st.text(max_size=5), st.sampled_from(SECRETS), st.text(max_size=5)).map("".join)
leaves = st.one_of(
    hiding,
    hiding.map(Holder),
    hiding.map(lambda text: Path("/" + text.replace("\0", ""))),
    hiding.map(ValueError),
    hiding.map(lambda text: {text}),
    hiding.map(str.encode),
    st.none(),
    st.integers(),
    st.floats(allow_nan=False),
)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(hiding, inner, max_size=3))


@given(value=values)
def test_no_secret_is_in_any_line_however_deep_it_hides(stream: io.StringIO, value: Any) -> None:
    structlog.get_logger("test").warning("something happened", value=value)
    (line,) = written(stream)
    assert not leaks(line)
    assert line["event"] == "something happened"


@given(text=hiding)
def test_nor_in_the_line_of_another_library_or_of_a_traceback(stream: io.StringIO, text: str) -> None:
    logging.getLogger("stranger").warning("asked %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        structlog.get_logger("test").exception("failed")
    lines = written(stream)
    assert len(lines) == 2
    assert not leaks(lines)


def test_a_line_says_who_when_and_how_bad(stream: io.StringIO) -> None:
    structlog.get_logger("labelwheel.test").info("pushed", tasks=3, url="https://x/?key=s3cr3t-token")
    (line,) = written(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "pushed", "tasks": 3, "url": f"https://x/?key={MASK}", "level": "info", "logger": "labelwheel.test", "program": "test",
    }  # fmt: skip
