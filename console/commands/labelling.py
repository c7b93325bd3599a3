"""What people are asked to look at, and what came of it: Label Studio, selection, corrections, doubts."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from console.screen import AsJson, Limit, logs_to_stderr, screen, show, with_project
from labelwheel.settings import get_settings

app = typer.Typer()


class CorrectedBy(StrEnum):
    label = "class"
    source = "source"
    model = "model"


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
    for stranger in with_project(lambda *here: list(unknown_names(*here))):
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
        show(
            [{key: value for key, value in choice.items() if key != "scores"} | _told(choice["scores"]) for choice in found["choices"]],
            False,
        )
    for line in lines(found):
        screen.print(line, highlight=False)


def _told(scores: dict[str, object]) -> dict[str, object]:
    return {name: scores.get(name) for name in ("uncertainty", "label")}


@app.command()
def corrections(
    by: Annotated[CorrectedBy, typer.Option(help="What the rows stand for.")] = CorrectedBy.label,
    as_json: AsJson = False,
) -> None:
    """Count what people did to the boxes that were drawn beforehand: kept, moved, relabelled, deleted, added.

    By source and model also the seconds that an annotation took (median).

    Example: labelwheel corrections --by model
    """
    from sync.corrections.counts import brief
    from sync.corrections.counts import corrections as count

    found = with_project(lambda session, project, _: count(session, project.id, by.value))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    show(brief(found), False, empty="Nobody has corrected a pre-annotation yet.")


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
        show(with_project(display.current_rows), as_json)
        return
    found, project = with_project(display.suggested)
    if found["why_nothing"] and not as_json:
        screen.print(found["why_nothing"], highlight=False)
        return
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(display.table(found), False)
        for line in display.lines(found):
            screen.print(line, highlight=False)
    if apply:
        display.ask_and_apply(get_settings(), project, display.better(found), yes, quiet=as_json)


@app.command()
def doubts(
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show labels that are to be doubted, most doubtful first, and why: what a model that was not trained on them sees otherwise."""
    from sync.doubts.listing import listing

    rows = with_project(lambda session, project, _: listing(session, project.id, limit + 1))
    columns = ("label", "annotator", "score", "second_look", "why")
    show(
        rows if as_json else [{key: row[key] for key in columns} for row in rows],
        as_json,
        empty="No label is doubted.",
        limit=limit,
    )
