"""`labelwheel image`: erase one everywhere, or let it come back."""

from __future__ import annotations

import json
from getpass import getuser
from typing import Annotated

import typer

from console.screen import AsJson, logs_to_stderr, screen
from labelwheel.errors import InputError
from labelwheel.settings import get_settings

app = typer.Typer(help="Erase an image everywhere, or let it come back.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="IMAGE", help="Its SHA-256 (eight digits or more), or an external id.")]


@app.callback()
def group() -> None:
    """Erase an image everywhere, or let it come back."""
    logs_to_stderr()


@app.command("erase")
def erase_image(
    name: Name,
    why: Annotated[str, typer.Option(help="Why; kept with the queue's history.")] = "by hand",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what holds it: files, tasks, predictions, labels, datasets, models.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Erase an image: its bytes, tasks, predictions, features, boxes and annotations, here, in Label Studio and in DVC.

    What was trained with it cannot unlearn it: those models are named. The same bytes are refused when they come again.
    May be killed and run again. Exit code 1 when something is left.

    Example: labelwheel image erase line-1/000001 --why "a person is on it"
    """
    from console.connect import open_client
    from console.erase import erase, held_lines, lines, preview
    from console.labels import used_lines

    found = preview(get_settings(), name)
    if not dry_run:
        if not yes:
            _ask([*held_lines(found), *used_lines(found.used)], as_json)
        found = erase(get_settings(), open_client(get_settings()), found.image, getuser(), why)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
    else:
        _print([*(held_lines(found) if dry_run else lines(found)), *used_lines(found.used)])
    raise typer.Exit(1 if found.error else 0)


def _ask(told: list[str], as_json: bool) -> None:
    if as_json:
        raise InputError("Erasing cannot be undone, and a program cannot be asked.", "Add --yes, or --dry-run to see what holds the image.")
    _print(told)
    typer.confirm("Erase it for good?", abort=True)


def _print(told: list[str]) -> None:
    for line in told:
        screen.print(line, highlight=False)


@app.command("allow")
def allow_image(name: Name) -> None:
    """Let the bytes of an erased image be taken again when they come. Nothing that was erased comes back by itself.

    Example: labelwheel image allow 3f2a9c41
    """
    from console.erase import look
    from labelwheel.database import get_database
    from sync.review.erase import allow

    database = get_database()
    _, image, _ = look(database, get_settings(), name)
    allow(database, image)
    screen.print(f"[green]✓[/] Image {image.sha256[:12]} may come again.", highlight=False)
