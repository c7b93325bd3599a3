"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import re
from pathlib import Path

PLAIN = re.compile(r"[^\s'\"#]*")


def write_private(path: Path, values: dict[str, str]) -> None:
    """Write an env file with mode 0600 so that no reader ever sees half of it."""
    write_private_text(path, "".join(f"{key}={_quoted(value)}\n" for key, value in values.items()))


def _quoted(value: str) -> str:
    # A password that a person chose may hold what a bare value loses: blanks at its ends, or all after " #".
    if PLAIN.fullmatch(value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def write_private_text(path: Path, text: str) -> None:
    """Write a file with mode 0600, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    draft.replace(path)
