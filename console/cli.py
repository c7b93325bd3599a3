"""The `labelwheel` command. Every heavy import waits until its command runs, so that `--help` is instant."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from console import classes, dataset, export_command, image, labels, model, models, promote, queue, retraining, runs, simulate
from console.commands import images, labelling, system
from console.screen import screen
from console.screen import with_project as _with_project
from labelwheel.errors import LabelwheelError
from labelwheel.settings import PREFIX, unknown_variables

FIRST = ("up", "down", "ps", "doctor", "connect", "ingest", "watch", "queue", "select")


MEANT = {  # what other tools call it, and no near match finds
    "status": "'ps' (programs), 'doctor' (what is wrong), 'conditions' (the next training) or 'runs' (past ones)",
    "history": "'runs'",
    "train": "'retrain'",
    "start": "'up'",
    "stop": "'down'",
    "import": "'model import' or 'ingest'",
}


class FirstThingsFirst(TyperGroup):
    """In `--help`, what everybody needs comes first; another tool's word for a command names ours."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in MEANT:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {MEANT[args[0]]}?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="labelwheel",
    cls=FirstThingsFirst,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(system.app)
app.add_typer(images.app)
app.add_typer(labelling.app)
app.add_typer(model.app, name="model")
app.add_typer(models.app, name="models")
app.add_typer(dataset.app, name="dataset")
app.add_typer(labels.app, name="labels")
app.add_typer(classes.app, name="classes")
app.add_typer(image.app, name="image")
app.add_typer(queue.app, name="queue")
app.command("export")(export_command.export)
for command in (
    retraining.conditions,
    retraining.retrain,
    runs.runs,
    retraining.cancel,
    retraining.receipt,
    promote.promote,
    promote.rollback,
):
    app.command()(command)
app.command("simulate")(simulate.simulate)


class Pausable(StrEnum):
    selection = "selection"
    retraining = "retraining"


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
    if context.invoked_subcommand == "doctor" or PREFIX + "PROGRAM" in os.environ:
        return  # doctor says it, and of `up`'s children nobody reads it
    for name, like in unknown_variables().items():
        told = f"{name} names no setting, and changes nothing{f'; {like} is one' if like else ''}."
        Console(stderr=True).print(f"[yellow]•[/] {told}", highlight=False, soft_wrap=True)


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
    from labelwheel.pause import pause, paused, told

    project_id = _with_project(lambda _session, project, _settings: project.id)
    with get_database().write() as session:
        fresh = pause(session, project_id, what.value, getpass.getuser(), why)
        row = paused(session, project_id, what.value)
    if fresh or row is None:
        screen.print(f"[green]✓[/] Paused. `labelwheel resume {what.value}` lets it go on.")
        return
    screen.print(f"It is paused already, and that stays as it is: {escape(told(row))}", highlight=False)
    screen.print(f"For another reason: `labelwheel resume {what.value}`, then pause it again.", highlight=False)


@app.command()
def resume(what: Annotated[Pausable, typer.Argument(help="selection or retraining")]) -> None:
    """Let go on what was paused."""
    from labelwheel.database import get_database
    from labelwheel.pause import resume

    project_id = _with_project(lambda _session, project, _settings: project.id)
    with get_database().write() as session:
        was_paused = resume(session, project_id, what.value)
    screen.print(f"[green]✓[/] {what.value.capitalize()} goes on." if was_paused else "It was not paused.")
