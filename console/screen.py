"""What every command shows its rows with."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console
from rich.table import Table

from labelwheel.settings import Settings, get_settings

screen = Console()
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def with_project(act: Callable[[Any, Any, Settings], Any]) -> Any:
    """What `act(session, project, settings)` reads of the connected project."""
    from labelwheel.database import get_database
    from labelwheel.project import current_project

    with get_database().read() as session:
        return act(session, current_project(session, get_settings()), get_settings())


def show(rows: list[dict[str, Any]], as_json: bool, empty: str = "", title: str | None = None, to: Console = screen) -> None:
    """Rows as a table, or as JSON; `empty` is what is said when there are none."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2, default=str))
        return
    if not rows:
        to.print(empty)
        return
    table = Table(title=title)
    for number, heading in enumerate(rows[0]):
        table.add_column(heading, no_wrap=number == 0, overflow="fold")  # a name that is cut is of no use
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    to.print(table)


def logs_to_stderr() -> None:
    """What a command prints is its answer, for a program to read: log lines go beside it."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))
