"""The installation: starting and stopping it, its parts one by one, what is wrong with it, its settings, the demo."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from console.screen import AsJson, lasting, screen, show
from labelwheel.settings import get_settings

app = typer.Typer()
serve = typer.Typer(help="Run one web server (what `up`, systemd and containers start).", no_args_is_help=True)
app.add_typer(serve, name="serve")


class QueueName(StrEnum):
    fast = "fast"
    training = "training"


@app.command()
def up(detach: Annotated[bool, typer.Option(help="Return when everything runs, and leave it running.")] = False) -> None:
    """Start everything on this machine and keep it running; Ctrl-C stops it.

    Valkey, Label Studio, ml_backend, console, workers and scheduler, all on loopback. State lives in `var/`.

    Example: labelwheel up
    """
    from console.up import start

    start(get_settings(), detach=detach)


@app.command()
def down() -> None:
    """Stop what `up` started. A training under way is interrupted, and goes on from its last checkpoint at the next `up`."""
    from console.retraining import interrupted
    from console.up import status, stop

    ran, told = bool(status(get_settings())), interrupted(get_settings())
    stop(get_settings())
    home = get_settings().home
    screen.print(f"[green]✓[/] Nothing of {home} runs any more." if ran else f"Nothing ran in {home}.", highlight=False, soft_wrap=True)
    if told:
        screen.print(f"[yellow]•[/] {told}", highlight=False)


@app.command()
def ps(as_json: AsJson = False) -> None:
    """Show the programs that `up` runs."""
    from console.up import status

    rows: list[dict[str, Any]] = [
        {"program": entry.name, "state": entry.state, "pid": entry.pid, "uptime_seconds": entry.uptime_seconds}
        for entry in status(get_settings())
    ]
    show(
        rows
        if as_json
        else [{name: row[name] for name in ("program", "state", "pid")} | {"up": lasting(row["uptime_seconds"])} for row in rows],
        as_json,
        empty=f"Nothing runs in {get_settings().home}. Start it with `labelwheel up`; another home is named by LABELWHEEL_HOME.",
    )


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema, and create secrets that are missing. `up` does both by itself."""
    from console.writing import HOME_CURE, into
    from labelwheel.credentials import generate_secrets
    from labelwheel.database import migrate

    with into(get_settings().home, HOME_CURE):
        get_settings().home.mkdir(mode=0o700, parents=True, exist_ok=True)
    migrate(generate_secrets(get_settings()).database_url)
    screen.print("[green]✓[/] The database is at the newest schema.")


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Name what is wrong and its cure. Exit code 1 when something is; what is only worth knowing changes no exit code.

    Example: labelwheel doctor --json
    """
    from console.doctor import examine

    faults = examine(get_settings())
    broken = any(fault.broken for fault in faults)
    if as_json:
        typer.echo(json.dumps([asdict(fault) for fault in faults], indent=2))
    else:
        for fault in faults:
            mark = "[red]✗[/]" if fault.broken else "[yellow]•[/]"
            screen.print(f"{mark} [bold]{fault.code}[/]  {fault.message}\n  [dim]→[/] {fault.cure}", highlight=False)
        if not broken:
            screen.print("[green]✓[/] Nothing is broken." if faults else "[green]✓[/] All is well.")
    raise typer.Exit(1 if broken else 0)


@app.command()
def settings(as_json: AsJson = False) -> None:
    """List every setting, its value and what it means. Secrets are not shown."""
    from console.settings_table import rows

    show(rows(get_settings()), as_json)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="YOLO-format folder (images/, labels/, classes.txt) to stream instead of built-in images.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the demo; a fresh one is drawn and printed if there is none.")] = None,
    missing_source: Annotated[str | None, typer.Option(help="Source that the cold start lacks. Default: the last by name.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave everything running at the end, to look around.")] = False,
) -> None:
    """Turn the wheel once, for real, on a system of its own in `var/demo/`: about ten minutes on two cores.

    Ends with a table, a picture and var/demo/report.json, and exits 0 only if each step was observed.

    Example: labelwheel demo --data ../boards --missing-source line-3
    """
    from console.demo.play import play

    raise typer.Exit(play(data, seed, missing_source, keep))


@serve.command("ml-backend")
def serve_ml_backend() -> None:
    """Label Studio's and the cameras' door."""
    from console.serve import serve_ml_backend

    serve_ml_backend(get_settings())


@serve.command("console")
def serve_console() -> None:
    """The pages and the REST API."""
    from console.serve import serve_console

    serve_console(get_settings())


@app.command()
def worker(queue_name: Annotated[QueueName, typer.Argument(metavar="QUEUE", help="fast or training")]) -> None:
    """Work the jobs of one queue."""
    from console.serve import run_worker

    run_worker(get_settings(), queue_name.value)


@app.command()
def scheduler() -> None:
    """Fire the ticks that make the wheel turn. Several schedulers do no harm."""
    from console.serve import run_scheduler

    run_scheduler(get_settings())
