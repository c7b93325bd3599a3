"""`labelwheel ingest` and `labelwheel watch` as a person sees them: progress, a summary, a clean stop."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from console.door import Door, Stopped
from console.ingest import Outcome, ingest, summary
from console.items import items_of
from console.watch import Watched, watch
from console.whereabouts import NothingRuns, Whereabouts
from labelwheel.errors import LabelwheelError
from labelwheel.settings import Settings

REASONS = 10
SOURCES = 8
INTERRUPTED = 130

Told = Callable[[str], None]


class Rate(ProgressColumn):
    """Images a second, as rich measures them."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


def send(settings: Settings, what: str, source: str | None, prefix: str, screen: Console | None) -> int:
    """Send what `what` stands for; the exit code. Without a screen one JSON object is printed at the end. Raises NothingRuns."""
    items, where = items_of(what, source, prefix), Whereabouts(settings)
    where()
    outcomes: list[Outcome] = []
    failure: LabelwheelError | None = None
    start = time.monotonic()
    with stopped_by_signals() as stopping, _progress(screen, len(items)) as (advance, told):
        try:
            for outcome in ingest(_door(settings, where, stopping, told, patience=60), items, settings.max_image_bytes):
                outcomes.append(outcome)
                advance()
        except LabelwheelError as error:
            failure = error
    found = {**summary(outcomes, time.monotonic() - start), "left": len(items) - len(outcomes)}
    _print(found, screen)
    if failure is not None and not isinstance(failure, Stopped):
        raise failure
    return INTERRUPTED if failure else int(bool(found["refused"]))


def follow(settings: Settings, watched: Watched, screen: Console | None) -> None:
    """Watch until Ctrl-C or SIGTERM; what was being sent is finished first."""
    counts, where = Counter[str](), Whereabouts(settings)
    _tell_if_nothing_runs(where)
    with stopped_by_signals() as stopping, _line(screen) as told:
        door = _door(settings, where, stopping, told, patience=None)
        for outcome in watch(door, watched, settings.max_image_bytes, stopping):
            counts[outcome.state] += 1
            _tell(outcome, screen)
            told(_counted(counts))
    if screen:
        screen.print(f"[green]✓[/] Stopped. {_counted(counts)}.", highlight=False)


def _tell_if_nothing_runs(where: Whereabouts) -> None:
    try:
        where()
    except NothingRuns as error:
        Console(stderr=True).print(f"[yellow]•[/] {error.message} Waiting for it. {error.cure}", highlight=False)


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one stops at once."""
    event = threading.Event()

    def stop(*_: object) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _door(settings: Settings, where: Whereabouts, stopping: threading.Event, told: Told, patience: float | None) -> Door:
    return Door(where, settings.api_token.get_secret_value(), patience=patience, stopping=stopping, told=told)


@contextmanager
def _progress(screen: Console | None, total: int) -> Iterator[tuple[Callable[[], None], Told]]:
    if screen is None:
        yield (lambda: None), (lambda _: None)
        return
    told = TextColumn("[yellow]{task.fields[told]}")
    with Progress(BarColumn(), MofNCompleteColumn(), Rate(), TimeElapsedColumn(), TimeRemainingColumn(), told, console=screen) as progress:
        task = progress.add_task("Sending", total=total, told="")
        yield (lambda: progress.update(task, advance=1, told="")), (lambda text: progress.update(task, told=escape(text)))


@contextmanager
def _line(screen: Console | None) -> Iterator[Told]:
    if screen is None:
        yield lambda _: None
        return
    with screen.status("watching") as status:
        yield lambda text: status.update(f"watching: {escape(text)}")


def _tell(outcome: Outcome, screen: Console | None) -> None:
    if screen is None:
        entry = {"file": outcome.item.name, "external_id": outcome.item.external_id, "state": outcome.state, "reason": outcome.reason}
        typer.echo(json.dumps(entry))
    elif outcome.reason:
        screen.print(f"[red]✗[/] {escape(outcome.item.name)}: {escape(outcome.reason)}", highlight=False)


def _print(found: Mapping[str, Any], screen: Console | None) -> None:
    if screen is None:
        typer.echo(json.dumps(found, indent=2))
        return
    for entry in found["reasons"][:REASONS]:
        others = " and others" if entry["count"] > 1 else ""
        screen.print(f"[red]✗[/] {entry['count']} refused: {escape(entry['reason'])}", highlight=False)
        screen.print(f"  [dim]→[/] {escape(entry['files'][0])}{others}", highlight=False)
    left = f", {found['left']} left: run it again, it goes on from there" if found["left"] else ""
    mark = "[red]✗[/]" if found["refused"] or found["left"] else "[green]✓[/]"
    screen.print(f"{mark} {_counted(found)}{left}. {found['seconds']} s. {_sources(found['sources'])}".rstrip(), highlight=False)


def _sources(counts: Mapping[str, int]) -> str:
    if len(counts) < 2:
        return "".join(f"Source: {escape(name)}." for name in counts)
    told = [f"{escape(name)} {count}" for name, count in list(counts.items())[:SOURCES]]
    return f"Sources: {', '.join(told)}{', …' if len(counts) > SOURCES else ''}."


def _counted(counts: Mapping[str, Any]) -> str:
    states = ("new", "known", "refused", *(["stuck"] if counts.get("stuck") else []))
    return ", ".join(f"{counts[state]} {state}" for state in states)
