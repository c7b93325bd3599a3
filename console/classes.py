"""`labelwheel classes`: what is told apart, how that changed, and the changes that only a person can state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.settings import get_settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from labelwheel.vision.class_change import Changed
    from labelwheel.vision.class_map import ClassMap

app = typer.Typer(help="See classes and their history; rename, merge, remove them.", no_args_is_help=True)

Note = Annotated[str, typer.Option(help="Why; kept with the change.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.callback()
def group() -> None:
    """See classes and their history; rename, merge, remove them. A new class is added in Label Studio, then `labelwheel connect`."""
    logs_to_stderr()


@app.command("list")
def list_classes(
    history: Annotated[
        bool, typer.Option("--history", help="Every version of the class map, and how it differs from the one before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show each class by its id: whether it is in use, what it was called before, and how many approved labels have it.

    Example: labelwheel classes list --history
    """
    rows = with_project(lambda session, project, _: _history(session, project.id) if history else _classes(session, project.id))
    show(rows, as_json, empty="There is no class yet: `labelwheel connect` reads them from the label config.")


@app.command()
def rename(
    old: Annotated[str, typer.Argument(help="The class, by the name that it has now.")],
    new: Annotated[str, typer.Argument(help="The name that it gets.")],
    note: Note = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give a class another name. Its id stays, its labels are read under the new name, and the model serves on without a training.

    Example: labelwheel classes rename scratch_v2 scratch --note "As in the inspection plan."
    """
    from labelwheel.vision import class_change

    _change(lambda known: class_change.rename(known, old, new), note, yes, as_json)


@app.command()
def merge(
    labels: Annotated[list[str], typer.Argument(help="The classes that become one.")],
    into: Annotated[str, typer.Option("--into", help="The class that they become: one in use, or a new name.")],
    note: Note = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let classes be one from now on. All ids but one are retired; it is not taken back.

    Example: labelwheel classes merge dust hair --into dirt
    """
    from labelwheel.vision import class_change

    _change(lambda known: class_change.merge(known, labels, into), note, yes, as_json)


@app.command()
def remove(
    label: Annotated[str, typer.Argument(help="The class, by the name that it has now.")],
    note: Note = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Take a class out of use. Its boxes are left out with the reason; an image that has no others is left out, too: it is no background.

    Example: labelwheel classes remove dust
    """
    from labelwheel.vision import class_change

    _change(lambda known: class_change.remove(known, label), note, yes, as_json)


@app.command()
def restore(
    label: Annotated[str, typer.Argument(help="The removed class, by the name that it had last.")],
    note: Note = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Bring a removed class back, under its old id, with all its labels.

    Example: labelwheel classes restore dust
    """
    from labelwheel.vision import class_change

    _change(lambda known: class_change.restore(known, label), note, yes, as_json)


def _change(wanted: Callable[[ClassMap], Changed], note: str, yes: bool, as_json: bool) -> None:
    from labelwheel.database import get_database
    from labelwheel.project import change_classes, current_classes
    from labelwheel.vision.class_change import told
    from retrain.model.deploy import renew

    project, classes = with_project(lambda session, project, _: (project, current_classes(session, project.id)))
    done = wanted(classes)
    drawn = with_project(lambda session, project, _: _drawn(session, project.id, done.change))
    if not yes and not as_json:
        screen.print(f"{told(done.change).replace(' was ', ' will be ').replace(' were ', ' will be ')}: {drawn} approved labels have it.")
        typer.confirm("Change it?", abort=True)
    with get_database().write() as session:
        row = change_classes(session, project.id, wanted, getuser(), note)
    renewed = renew(get_database(), get_settings(), project.id)
    edits = list(advice(project.label_config, done.change))
    if as_json:
        typer.echo(
            json.dumps({"version": row.version, "change": done.change, "labels": drawn, "renewed": renewed, "edits": edits}, indent=2)
        )
        return
    screen.print(f"[green]✓[/] {escape(told(done.change))}: class map {row.version}.", highlight=False)
    if renewed:
        screen.print("  The champion serves under the new names; open tasks follow.")
    for edit in edits:
        screen.print(f"  [bold]→[/] {escape(edit)}", highlight=False)


def advice(label_config: str, change: dict[str, Any]) -> Iterator[str]:
    """The edits of Label Studio's label config that go with a change; the config is its owners', so they are only told. Pure.

    Label Studio takes no label out that something was drawn with. An `alias` lets it show another name for it.
    """
    from labelwheel.errors import InputError
    from labelwheel.vision.label_config import parse, trained_labels

    try:
        there = trained_labels(parse(label_config))
    except InputError:
        return
    names: Sequence[str] = change["labels"] if change["what"] == "merged" else [change["label"]]
    mine = [name for name in names if name in there and name != change.get("to")]
    if change["what"] == "renamed" or (change["what"] == "merged" and change["to"] not in there):
        for name in mine[:1]:
            yield f'In the label config, let <Label value="{name}"/> be <Label value="{change["to"]}" alias="{name}"/>, then `labelwheel connect`.'
        mine = mine[1:]
    for name in mine if change["what"] in ("merged", "removed") else ():
        fate = f"is read as {change['to']}" if change["what"] == "merged" else "is left out"
        yield f'Take <Label value="{name}"/> out of the label config once nothing is drawn with it; until then what is drawn with it {fate}.'


def _classes(session: Session, project_id: int) -> list[dict[str, Any]]:
    from labelwheel.project import current_classes

    known, counts = current_classes(session, project_id), _counts(session, project_id)
    return [
        {
            "id": class_id,
            "class": label,
            "state": _state(known, class_id),
            "formerly": ", ".join(name for name, owner in known.former.items() if owner == class_id),
            "labels": sum(count for name, count in counts.items() if known.knows(name) and known.named(name) == label),
        }
        for class_id, label in enumerate(known.labels)
    ]


def _state(known: ClassMap, class_id: int) -> str:
    if class_id not in known.retired:
        return "in use"
    now = known.read(known.labels[class_id])
    return f"merged into {now}" if now else "removed"


def _history(session: Session, project_id: int) -> list[dict[str, Any]]:
    from sqlalchemy import select

    from labelwheel.database.tables import ClassMap as Row
    from labelwheel.vision.class_change import told

    rows = session.scalars(select(Row).where(Row.project_id == project_id).order_by(Row.version))
    return [
        {
            "version": row.version,
            "created_at": row.created_at.isoformat(timespec="seconds"),
            "changes": "; ".join(_said(change, told(change)) for change in row.changes or []) or "labels as they were",
            "classes": ", ".join(row.labels),
        }
        for row in rows
    ]


def _said(change: dict[str, Any], told: str) -> str:
    by = f", by {change['who']}" if change.get("who") else ""
    return f"{told}{by}{': ' + change['why'] if change.get('why') else ''}"


def _drawn(session: Session, project_id: int, change: dict[str, Any]) -> int:
    names = set(change.get("labels") or [change["label"]])
    return sum(count for name, count in _counts(session, project_id).items() if name in names)


def _counts(session: Session, project_id: int) -> dict[str, int]:
    """Approved labels by the name of a class that they have boxes of, as it was drawn."""
    from collections import Counter

    from sqlalchemy import select

    from labelwheel.database.tables import Label
    from retrain.dataset import labels
    from retrain.dataset.content import portions

    found: Counter[str] = Counter()
    for some in portions(labels.approved(session, project_id).values()):
        for boxes in session.scalars(select(Label.boxes).where(Label.id.in_(some))):
            found.update({str(box["label"]) for box in boxes})
    return dict(found)
