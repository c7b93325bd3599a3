"""`labelwheel push` and `labelwheel pull`: what the workers do, done now and watched."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy import func, select

from console.screen import logs_to_stderr, screen
from labelwheel.database import Database, get_database
from labelwheel.database.tables import QueueItem
from labelwheel.errors import WentBack
from labelwheel.project import current_project
from labelwheel.settings import Settings
from sync.jobs import open_client

LOOK_SECONDS = 0.5


def push(settings: Settings, as_json: bool) -> None:
    """Push all that is pending; what cannot be pushed stays, and is counted as left."""
    from sync.exchange.push import push

    logs_to_stderr()
    database = get_database()
    waiting = pending(database, settings)
    with _shrinking(database, settings, waiting, silent=as_json or not waiting):
        pushed = push(database, settings, open_client(settings))
    found = {"pushed": pushed, "left": pending(database, settings)}
    if as_json:
        typer.echo(json.dumps(found))
    elif found["left"]:
        screen.print(f"[yellow]•[/] {pushed} pushed, {found['left']} left: another push is under way, or `labelwheel doctor` says why.")
    else:
        screen.print(f"[green]✓[/] {pushed} pushed, nothing is pending.")


def pull(settings: Settings, as_json: bool) -> None:
    """Pull what changed since the last pull. Raises WentBack while nothing of Label Studio is believed."""
    from sync.exchange.pull import pull
    from sync.exchange.reset import held

    logs_to_stderr()
    database = get_database()
    with nullcontext() if as_json else screen.status("Pulling …"):
        seen = pull(database, settings, open_client(settings))
    with database.read() as session:
        pause = held(session, current_project(session, settings).id)
    if pause is not None:
        raise WentBack(f"Nothing is pulled, and every label stays. {pause.why}")
    if as_json:
        typer.echo(json.dumps({"tasks": seen}))
    else:
        screen.print(f"[green]✓[/] {seen} tasks looked at. `labelwheel queue` shows where each stands.")


def pending(database: Database, settings: Settings) -> int:
    """How many items wait to be pushed."""
    with database.read() as session:
        mine = QueueItem.project_id == current_project(session, settings).id
        return session.scalar(select(func.count()).select_from(QueueItem).where(mine, QueueItem.status == "pending")) or 0


@contextmanager
def _shrinking(database: Database, settings: Settings, total: int, *, silent: bool) -> Iterator[None]:
    """A bar that fills as what is pending shrinks: the database says how far the push is, whoever pushes."""
    if silent:
        yield
        return
    columns = (TextColumn("Pushing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    done = threading.Event()
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task("", total=total)

        def look() -> None:
            while not done.wait(LOOK_SECONDS):
                progress.update(task, completed=max(total - pending(database, settings), 0))

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
