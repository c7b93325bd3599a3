"""The `labelwheel` command. Every heavy import waits until its command runs, so that `--help` is instant."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from console import dataset, export_command, image, labels, model, models, queue, retraining, simulate
from console.screen import AsJson, logs_to_stderr, screen
from console.screen import show as _show
from console.screen import with_project as _with_project
from labelwheel.errors import LabelwheelError
from labelwheel.settings import PREFIX, get_settings, unknown_variables

app = typer.Typer(name="labelwheel", no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False, add_completion=False)
serve = typer.Typer(help="Run one web server (what `up`, systemd and containers start).", no_args_is_help=True)
app.add_typer(serve, name="serve")
app.add_typer(model.app, name="model")
app.add_typer(models.app, name="models")
app.add_typer(dataset.app, name="dataset")
app.add_typer(labels.app, name="labels")
app.add_typer(image.app, name="image")
app.add_typer(queue.app, name="queue")
app.command("export")(export_command.export)

Source = Annotated[str | None, typer.Option(help="Camera or line that the images come from.")]
Prefix = Annotated[str, typer.Option(help="Put before each image's id, where equal names of two folders are different images.")]


class CorrectedBy(StrEnum):
    label = "class"
    source = "source"
    model = "model"


class Pausable(StrEnum):
    selection = "selection"
    retraining = "retraining"


class QueueName(StrEnum):
    fast = "fast"
    training = "training"


def main() -> None:
    """Run the command; an error that we know ends as one sentence with its cure, and exit code 1."""
    try:
        app()
    except LabelwheelError as error:
        Console(stderr=True).print(
            f"[red]✗[/] {error.message}\n  {error.cure}" if error.cure else f"[red]✗[/] {error.message}", highlight=False
        )
        raise SystemExit(1) from None


@app.callback()
def before(context: typer.Context) -> None:
    """An active-learning loop for object detection, around Label Studio."""
    if (
        context.invoked_subcommand != "doctor" and PREFIX + "PROGRAM" not in os.environ
    ):  # doctor says it; of `up`'s children nobody reads it
        for name, like in unknown_variables().items():
            meant = f"; {like} is one" if like else ""
            Console(stderr=True).print(
                f"[yellow]•[/] {name} names no setting, and changes nothing{meant}.", highlight=False, soft_wrap=True
            )


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
    from console.up import stop

    told = interrupted(get_settings())
    stop(get_settings())
    if told:
        screen.print(f"[yellow]•[/] {told}", highlight=False)


@app.command()
def ps(as_json: AsJson = False) -> None:
    """Show the programs that `up` runs."""
    from console.up import status

    rows = [
        {"program": entry.name, "state": entry.state, "pid": entry.pid, "uptime_seconds": entry.uptime_seconds}
        for entry in status(get_settings())
    ]
    _show(
        rows,
        as_json,
        empty=f"Nothing runs in {get_settings().home}. Start it with `labelwheel up`; another home is named by LABELWHEEL_HOME.",
    )


class ResetAnswer(StrEnum):
    keep = "keep"
    withdraw = "withdraw"


@app.command()
def connect(
    accept_reset: Annotated[
        ResetAnswer | None,
        typer.Option(
            help="Label Studio was restored or reset, and the pull stopped: keep every label and send open tasks anew, or withdraw what "
            "is gone there."
        ),
    ] = None,
    adopt: Annotated[
        bool | None, typer.Option("--adopt/--no-adopt", help="Adopt the tasks that others made. Default: as LABELWHEEL_ADOPT says.")
    ] = None,
) -> None:
    """Connect to a Label Studio project: token, project, storage, ML backend, webhook, view. Safe to repeat.

    `up` does it by itself. For a Label Studio of your own set LABELWHEEL_LABEL_STUDIO_URL and LABELWHEEL_LABEL_STUDIO_TOKEN,
    start ml_backend (without `up` set LABELWHEEL_ML_BACKEND_URL), then run this. Tasks that are there already are adopted, with their
    annotations; Ctrl-C leaves the rest to the scheduler.
    Tasks whose image cannot be had are named, and left as they are: mend that, and run it again. Exit code 1 if there are any.
    """
    from console.adopt import adopt_all
    from console.connect import connect
    from console.whereabouts import Whereabouts

    settings = get_settings()
    Whereabouts(settings)()  # Label Studio shall be given no address that a stranger may hold
    row = connect(settings, accept_reset.value if accept_reset else None)
    screen.print(f"[green]✓[/] Connected to project [bold]{row.title}[/] ({settings.label_studio_url}/projects/{row.ls_project_id}).")
    if settings.adopt if adopt is None else adopt:
        raise typer.Exit(adopt_all(settings, row, screen))


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema, and create secrets that are missing. `up` does both by itself."""
    from labelwheel.database import migrate
    from labelwheel.settings import generate_secrets

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
def ingest(
    what: Annotated[str, typer.Argument(help="Folder, image, list of images (.txt, or - for standard input), or http(s) address.")],
    source: Source = None,
    prefix: Prefix = "",
    as_json: AsJson = False,
) -> None:
    """Send images through the camera's door. Run it again at will: what arrived already is not sent again.

    Without --source, the sub-folder that an image lies in names it. While the server has no room, it waits and goes on.
    Exit code 1 when an image was refused.

    Example: labelwheel ingest ~/captures --source line-1

    Example: find . -name '*.png' -newer stamp | labelwheel ingest - --source line-1
    """
    from console.send import send

    logs_to_stderr()
    raise typer.Exit(send(get_settings(), what, source, prefix, None if as_json else screen))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that images are written to; sub-folders too.")],
    source: Source = None,
    prefix: Prefix = "",
    move: Annotated[Path | None, typer.Option(help="Move each image there when its arrival is confirmed.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete each image when its arrival is confirmed.")] = False,
    quiet: Annotated[float, typer.Option(min=0.1, help="Seconds that a file must keep still before it counts as written.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each image.")] = False,
) -> None:
    """Send every image that is written below a folder, until Ctrl-C. What came while nobody watched is sent at the start.

    Nothing is sent twice. While the server has no room, or is away, it waits and goes on.

    Example: labelwheel watch /data/camera-1 --source line-1 --move /data/sent
    """
    from console.send import follow
    from console.watch import Watched

    logs_to_stderr()
    follow(get_settings(), Watched.of(folder, source, prefix, quiet, move, delete), None if as_json else screen)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the bytes of images go that nobody needs and that are too old, or too many. The scheduler does it every hour.

    Whatever was queued, audited, labelled or in a dataset stays. Captures, features and predictions are never removed.

    Example: labelwheel retention --dry-run
    """
    from console.retention import lines, run

    report = run(get_settings(), dry_run)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
        return
    for line in lines(report, dry_run):
        screen.print(line, highlight=False)


@app.command()
def push(as_json: AsJson = False) -> None:
    """Push what is pending to Label Studio now, as tasks with pre-annotations. The wheel does it by itself; nothing is pushed twice.

    Example: labelwheel push --json
    """
    from console.by_hand import push

    push(get_settings(), as_json)


@app.command()
def pull(as_json: AsJson = False) -> None:
    """Pull what people did in Label Studio now. The wheel does it by itself, seconds after each answer.

    Example: labelwheel pull
    """
    from console.by_hand import pull

    pull(get_settings(), as_json)


@app.command()
def select(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be chosen, and what would be left out for which reason.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Choose now what people shall look at. The scheduler does it every minute.

    A dry run writes nothing and lets no model look: what no model has seen yet is counted as such.

    Example: labelwheel select --dry-run
    """
    from console.names import unknown_names
    from console.selection import lines, preview, select_now

    logs_to_stderr()
    for stranger in _with_project(lambda *here: list(unknown_names(*here))):
        Console(stderr=True).print(f"[yellow]•[/] {stranger}", highlight=False)
    if not dry_run:
        added = select_now(get_settings())
        typer.echo(json.dumps({"chosen": added})) if as_json else screen.print(f"[green]✓[/] {added} captures came into the queue.")
        return
    found = preview(get_settings())
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if found["choices"]:
        _show(
            [{key: value for key, value in choice.items() if key != "scores"} | _told(choice["scores"]) for choice in found["choices"]],
            False,
        )
    for line in lines(found):
        screen.print(line, highlight=False)


def _told(scores: dict[str, object]) -> dict[str, object]:
    return {name: scores.get(name) for name in ("uncertainty", "label")}


@app.command()
def pause(
    what: Annotated[Pausable, typer.Argument(help="selection or retraining")],
    why: Annotated[str, typer.Option(help="For whoever wonders.")],
) -> None:
    """Pause selection: nothing new comes into the queue, and nothing in it expires. What is there can be labelled.

    Or pause retraining: the policy starts no run. A run under way goes on, and `labelwheel retrain` still starts one.

    Example: labelwheel pause selection --why "Stocktaking until Monday"

    Example: labelwheel pause retraining --why "The line is rebuilt"
    """
    import getpass

    from labelwheel.database import get_database
    from labelwheel.pause import pause

    project_id = _with_project(lambda _session, project, _settings: project.id)
    with get_database().write() as session:
        fresh = pause(session, project_id, what.value, getpass.getuser(), why)
    screen.print(f"[green]✓[/] Paused. `labelwheel resume {what.value}` lets it go on." if fresh else "It is paused already.")


@app.command()
def resume(what: Annotated[Pausable, typer.Argument(help="selection or retraining")]) -> None:
    """Let go on what was paused."""
    from labelwheel.database import get_database
    from labelwheel.pause import resume

    project_id = _with_project(lambda _session, project, _settings: project.id)
    with get_database().write() as session:
        was_paused = resume(session, project_id, what.value)
    screen.print(f"[green]✓[/] {what.value.capitalize()} goes on." if was_paused else "It was not paused.")


app.command("conditions")(retraining.conditions)


@app.command()
def corrections(
    by: Annotated[CorrectedBy, typer.Option(help="What the rows stand for.")] = CorrectedBy.label,
    as_json: AsJson = False,
) -> None:
    """Count what people did to the boxes that were drawn beforehand: kept, moved, relabelled, deleted, added.

    Example: labelwheel corrections --by model
    """
    from sync.corrections.counts import brief
    from sync.corrections.counts import corrections as count

    found = _with_project(lambda session, project, _: count(session, project.id, by.value))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    _show(brief(found), False, empty="Nobody has corrected a pre-annotation yet.")


@app.command()
def thresholds(
    suggest: Annotated[bool, typer.Option("--suggest", help="Say from which confidence each class were best shown.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Write what is better into the project's label config in Label Studio.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show from which confidence each class is shown to people, and suggest what would save them seconds.

    A false box must be deleted, a missing one drawn: expected seconds follow from people's corrections, from approved labels that the
    model was not trained on, and from its detections.

    Example: labelwheel thresholds --suggest

    Example: labelwheel thresholds --apply
    """
    from console import thresholds as display

    if not (suggest or apply):
        _show(_with_project(display.current_rows), as_json)
        return
    found, project = _with_project(display.suggested)
    if found["why_nothing"] and not as_json:
        screen.print(found["why_nothing"], highlight=False)
        return
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        _show(display.table(found), False)
        for line in display.lines(found):
            screen.print(line, highlight=False)
    if apply:
        display.ask_and_apply(get_settings(), project, display.better(found), yes, quiet=as_json)


@app.command()
def doubts(
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: AsJson = False,
) -> None:
    """Show labels that are to be doubted, most doubtful first, and why: what a model that was not trained on them sees otherwise."""
    from sync.doubts.listing import listing

    rows = _with_project(lambda session, project, _: listing(session, project.id, limit))
    columns = ("label", "annotator", "score", "second_look", "why")
    _show(
        rows if as_json else [{key: row[key] for key in columns} for row in rows],
        as_json,
        empty="No label is doubted.",
    )


app.command("retrain")(retraining.retrain)
app.command("cancel")(retraining.cancel)
app.command("receipt")(retraining.receipt)


@app.command()
def settings(as_json: AsJson = False) -> None:
    """List every setting, its value and what it means. Secrets are not shown."""
    from console.settings_table import rows

    _show(rows(get_settings()), as_json)


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


app.command("simulate")(simulate.simulate)


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
