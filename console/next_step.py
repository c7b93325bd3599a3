"""The one thing that a person should do next. Pure: it looks at counts only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


@dataclass(frozen=True, slots=True)
class Loop:
    """Where the wheel stands, in counts. `percent` is 0 to 100, of the active run."""

    captures: int = 0
    pending: int = 0
    pushed: int = 0
    labels: int = 0
    labels_needed: int = 100
    runs: int = 0
    active_run: str | None = None
    percent: float = 0.0
    last_verdict: str | None = None
    model: str | None = None


class Step(TypedDict):
    title: str
    text: str
    command: str | None  # to be typed in a terminal
    open_label_studio: bool


def next_step(loop: Loop) -> Step | None:
    """What to do next; None while the wheel turns by itself."""
    if loop.captures == 0:
        return _step(
            "Send some images", "Nothing has arrived yet. A folder is enough to begin with:", "labelwheel ingest FOLDER --source line-1"
        )
    if loop.active_run:
        return None
    if loop.last_verdict == "failed":
        return _step(
            "Look at the failed training", "The newest training ended without a model. The cause is named by:", "labelwheel doctor"
        )
    if loop.model is None and loop.labels < loop.labels_needed:
        missing = f"The first model trains by itself at {loop.labels_needed} labels; there are {loop.labels}."
        if loop.pushed:
            return _step("Label the first images", missing, None, True)
        return _step("Images are on their way to Label Studio", f"{missing} Selection looks every minute.", None)
    if loop.pushed:
        return _step(
            "Correct what the model is unsure of",
            f"{loop.pushed} image{'s wait' if loop.pushed > 1 else ' waits'} in Label Studio.",
            None,
            True,
        )
    return None


def _step(title: str, text: str, command: str | None, open_label_studio: bool = False) -> Step:
    return {"title": title, "text": text, "command": command, "open_label_studio": open_label_studio}
