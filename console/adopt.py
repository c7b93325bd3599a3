"""`labelwheel connect` on a project that has tasks: adopts them all, with a bar to watch."""

from __future__ import annotations

import time
from itertools import islice
from math import inf

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from console.connect import look_for_strangers, open_client
from labelwheel.database import get_database
from labelwheel.database.tables import Project
from labelwheel.settings import Settings
from sync.exchange.adopt import Adoption, adopt

SHOWN = 20
WAIT_SECONDS = 2


def adopt_all(settings: Settings, project: Project, screen: Console) -> int:
    """Look at every task of the project; the exit code. Killed, it goes on by itself or at the next call."""
    client, database = open_client(settings), get_database(settings.database_url)
    look_for_strangers(settings, project.id)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        bar = progress.add_task("Looking at its tasks", total=client.task_count(project.ls_project_id))

        def told(done: Adoption) -> None:
            progress.update(bar, completed=done.adopted + done.known + len(done.faults))

        while not (done := adopt(database, settings, client, seconds=inf, told=told)).ended:
            progress.update(bar, description="Another one adopts them, or was killed a minute ago")
            time.sleep(WAIT_SECONDS)
    return _tell(done, screen)


def _tell(done: Adoption, screen: Console) -> int:
    if done.held:
        screen.print(f"[red]✗[/] Nothing is adopted until somebody decides (`labelwheel doctor`): {escape(done.held)}", soft_wrap=True)
        return 1
    if done.adopted:
        screen.print(f"[green]✓[/] {done.adopted} tasks adopted, with their annotations.")
    for number, fault in islice(done.faults.items(), SHOWN):
        screen.print(f"[red]✗[/] task {number}: {escape(fault)}", highlight=False, soft_wrap=True)
    if len(done.faults) > SHOWN:
        screen.print(f"  … and {len(done.faults) - SHOWN} more tasks were left as they are; the log names them all.")
    return 1 if done.faults else 0
