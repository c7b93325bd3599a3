"""The last words of a child process: what its log says at the end, as a person reads it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

LAST_WORDS = 600  # characters of a log that an error quotes
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
BAR = "━"  # ultralytics draws its progress with it


def said(log: Path, since: int = 0) -> str:
    """The end of what the log says from byte `since` on, without colours and progress bars."""
    with log.open("rb") as stream:
        stream.seek(since)
        text = stream.read().decode(errors="replace")
    lines = (line.rstrip() for line in COLOUR.sub("", text).splitlines())
    return "\n".join(line for line in lines if line and BAR not in line)[-LAST_WORDS:].strip()


def ending(code: int) -> str:
    """How a process with this exit code came to its end."""
    if code == -signal.SIGKILL:
        return "was killed, as the system does when memory runs out"
    return f"was ended by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"ended with exit code {code}"
