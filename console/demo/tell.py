"""How the demo tells a person what it does: each step as it begins and ends, and meanwhile what is waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status

screen = Console()

TELL_SECONDS = 30.0  # between two lines on what is waited for, where there is no terminal


@dataclass
class Teller:
    """Tells of one step after the other: on a terminal in one line that changes, elsewhere in lines, not too many."""

    status: Status | None = None
    told_at: float = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that a step is under way, for the block."""
        self.told_at = time.monotonic()
        if not screen.is_terminal:
            screen.print(f"  {name} …", highlight=False, soft_wrap=True)
        with screen.status(f"{name} …") as self.status:
            yield

    def waiting(self, what: str) -> None:
        """Say what is waited for; to be called at each look, it says no more than a person wants to read."""
        if screen.is_terminal and self.status:
            self.status.update(what)
        elif time.monotonic() - self.told_at >= TELL_SECONDS:
            self.told_at = time.monotonic()
            screen.print(f"    {what}", highlight=False, soft_wrap=True)

    def done(self, name: str, seconds: float, seen: str) -> None:
        """Say that a step has ended well, how long it took, and what was seen."""
        screen.print(f"[green]✓[/] {name}  [dim]{seconds:.1f} s  {seen}[/]", highlight=False)
