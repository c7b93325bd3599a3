"""What every command shows its rows with."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import structlog
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from labelwheel.settings import Settings, get_settings

WIDE = 200  # columns of what is no terminal: nothing there needs to be broken
screen = Console()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Limit = Annotated[int, typer.Option(min=1, max=1000, help="Show at most so many.")]


def with_project(act: Callable[[Any, Any, Settings], Any]) -> Any:
    """What `act(session, project, settings)` reads of the connected project."""
    from labelwheel.database import get_database
    from labelwheel.project import current_project

    with get_database().read() as session:
        return act(session, current_project(session, get_settings()), get_settings())


def show(
    rows: list[dict[str, Any]], as_json: bool, empty: str = "", title: str | None = None, to: Console = screen, limit: int | None = None
) -> None:
    """Rows as a table, or as JSON; `empty` is what is said when there are none.

    `limit` is the most to show: whoever has one reads a row more, so that it is said when there are others.
    """
    if limit is not None and len(rows) > limit:
        show(rows[:limit], as_json, title=title, to=to)
        if not as_json:
            to.print(f"Only the first {limit}: there are more, see --limit.", highlight=False)
        return
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        to.print(empty)
        return
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")  # a name that is cut is of no use
    for row in rows:
        table.add_row(*("" if value is None else escape(str(value)) for value in row.values()))
    (to if to.is_terminal else Console(file=to.file, width=WIDE)).print(table)


def ago(moment: str, now: datetime | None = None) -> str:
    """An instant (ISO 8601) as a person tells it: how long ago within a day, else the local date and time."""
    then = datetime.fromisoformat(moment)
    gone = (now or datetime.now(UTC)) - then
    if not timedelta(0) <= gone < timedelta(days=1):
        return f"{then.astimezone():%Y-%m-%d %H:%M}"
    minutes = int(gone.total_seconds()) // 60
    if minutes < 1:
        return "just now"
    return f"{minutes} min ago" if minutes < 60 else f"{minutes // 60} h ago"


def lasting(seconds: int) -> str:
    """How long something has lasted, in its two largest units."""
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def logs_to_stderr() -> None:
    """What a command prints is its answer, for a program to read: log lines go beside it, and only those that warn."""
    warnings = structlog.make_filtering_bound_logger(logging.WARNING)
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr), wrapper_class=warnings)
