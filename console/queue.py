"""`labelwheel queue`: what waits for people, answers to it, and the labels that came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from console.export_command import Form
from console.screen import AsJson, Limit, ago, logs_to_stderr, screen, show, with_project
from labelwheel.errors import InputError
from labelwheel.settings import get_settings
from retrain.dataset.format import Format

if TYPE_CHECKING:
    from labelwheel.vision.class_map import ClassMap
    from labelwheel.vision.detection import LabelledBox
    from sync.review.said import Said
    from sync.review.window import Window

app = typer.Typer()


class QueueStatus(StrEnum):
    pending = "pending"
    pushed = "pushed"
    labeled = "labeled"
    approved = "approved"
    rejected = "rejected"
    skipped = "skipped"
    expired = "expired"


class QueueReason(StrEnum):
    low_confidence = "low_confidence"
    audit = "audit"
    drift = "drift"
    novelty = "novelty"
    disagreement = "disagreement"
    label_error = "label_error"
    adopted = "adopted"


Item = Annotated[int, typer.Argument(metavar="ID", help="Number of the item, as `labelwheel queue` shows it.")]
Who = Annotated[str, typer.Option("--by", help="Who says it: a name or e-mail address, kept with the answer.")]
Why = Annotated[str, typer.Option("--why", help="Why; kept with the answer.")]
Again = Annotated[str, typer.Option("--again", help="Say it once more after somebody else's answer; the refusal tells what to give.")]
Seen = Annotated[QueueStatus | None, typer.Option("--status", help="Where the item stood when they looked; elsewhere now is refused.")]


@app.callback(invoke_without_command=True)
def listing(
    context: typer.Context,
    status: Annotated[QueueStatus | None, typer.Option(help="Only items of this status. Default: what waits for somebody.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what is approved, rejected, skipped or expired.")] = False,
    reason: Annotated[QueueReason | None, typer.Option(help="Only items that were chosen for this reason.")] = None,
    source: Annotated[str | None, typer.Option(help="Only items of this camera or line.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Show what waits in the labelling queue, most urgent first; show one item, answer it, export labels.

    Example: labelwheel queue --status pushed --source line-1
    """
    logs_to_stderr()
    if context.invoked_subcommand is None:
        from console.waiting import why_nothing
        from sync.queue import ALL, OPEN, listing

        asked = (status.value if status else ALL if everything else OPEN, reason and reason.value, source)
        rows = with_project(lambda session, project, _: listing(session, project.id, limit + 1, *asked))
        if not as_json and (told := with_project(_paused)):
            screen.print(f"[yellow]•[/] {told}", highlight=False)
        empty = "" if rows or as_json else with_project(lambda session, project, _: why_nothing(session, project.id, *asked))
        show(rows if as_json else [_short(row) for row in rows], as_json, empty=empty, limit=limit)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "status", "reason", "priority", "source", "external_id")
    return {**{name: row[name] for name in names}, "priority": f"{row['priority']:.2f}", "changed": ago(row["updated_at"])}


def _paused(session: Any, project: Any, _settings: Any) -> str:
    from labelwheel.pause import paused, told

    row = paused(session, project.id)
    return told(row) if row else ""


@app.command("show")
def show_item(item: Item, as_json: AsJson = False) -> None:
    """Show an item: where it has been and who moved it there, when and why, its labels, and what was said of them.

    Example: labelwheel queue show 12
    """
    from sync.queue import show as read

    _tell(with_project(lambda session, project, _: read(session, project.id, item)), as_json)


@app.command("label")
def label_item(
    item: Item,
    by: Who,
    boxes: Annotated[
        list[str] | None,
        typer.Option(
            "--box", metavar="LABEL:X1,Y1,X2,Y2", help="One box, in pixels of the upright image. Repeat it; none: nothing is there."
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="How long it took.")] = None,
    why: Why = "",
    status: Seen = None,
    again: Again = "",
    as_json: AsJson = False,
) -> None:
    """Submit a label: it becomes an annotation in Label Studio. Saying the same twice is saying it once.

    Example: labelwheel queue label 12 --by anna@plant.example --box scratch:10,20,60,80 --box dent:100,40,130,75
    """
    from sync.review.answer import label

    with _by_option("label"):
        _tell(label(_window(), item, [read_box(text) for text in boxes or []], _said(by, why, status, again), seconds), as_json)


@app.command()
def approve(item: Item, by: Who, why: Why = "", status: Seen = None, as_json: AsJson = False) -> None:
    """Approve the newest label of an item: it gets the ground-truth star in Label Studio.

    Example: labelwheel queue approve 12 --by eve@plant.example
    """
    _answer("approve", item, by, why, status, as_json)


@app.command()
def reject(item: Item, by: Who, why: Why = "", status: Seen = None, as_json: AsJson = False) -> None:
    """Reject the newest label of an item.

    Example: labelwheel queue reject 12 --by eve@plant.example --why "the left scratch is missing"
    """
    _answer("reject", item, by, why, status, as_json)


@app.command()
def skip(item: Item, by: Who, why: Why = "", status: Seen = None, again: Again = "", as_json: AsJson = False) -> None:
    """Say that nobody can label an item: a cancelled annotation in Label Studio.

    Example: labelwheel queue skip 12 --by anna@plant.example --why "out of focus"
    """
    _answer("skip", item, by, why, status, as_json, again)


@app.command()
def flag(item: Item, by: Who, why: Why = "", status: Seen = None, as_json: AsJson = False) -> None:
    """Ask for a look at an item before all others.

    Example: labelwheel queue flag 12 --by eve@plant.example --why "a customer asks"
    """
    _answer("flag", item, by, why, status, as_json)


def _answer(act: str, item: int, by: str, why: str, status: QueueStatus | None, as_json: bool, again: str = "") -> None:
    from sync.review import answer

    acts = {"approve": answer.approve, "reject": answer.reject, "skip": answer.skip, "flag": answer.flag}
    with _by_option(act):
        _tell(acts[act](_window(), item, _said(by, why, status, again)), as_json)


@contextmanager
def _by_option(act: str) -> Iterator[None]:
    """Where an answer came late, the cure names our options, not REST's fields."""
    from sync.review.said import Elsewhere, Repeated

    try:
        yield
    except (Elsewhere, Repeated) as late:
        options = f"--status {late.item['status']}{f' --again {late.again}' if isinstance(late, Repeated) else ''}"
        late.cure = f"Look at it: `labelwheel queue show {late.item['id']}`; to {act} it all the same, add {options}."
        raise


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder that is new or empty, or holds an earlier export, which is replaced.")],
    form: Form = Format.yolo,
    as_json: AsJson = False,
) -> None:
    """Write all approved labels, with their images, as a folder that ultralytics reads: the same as `labelwheel export`.

    Example: labelwheel queue export ./labels && yolo detect train data=./labels/data.yaml
    """
    from console.export_command import export_ours

    export_ours(folder, form, images=True, as_json=as_json)


def read_box(text: str) -> LabelledBox:
    """A box from LABEL:X1,Y1,X2,Y2. Raises InputError."""
    from labelwheel.vision.detection import LabelledBox
    from labelwheel.vision.geometry import Box

    label, _, edges = text.rpartition(":")
    try:
        left, top, right, bottom = (float(edge) for edge in edges.split(","))
    except ValueError as error:
        raise InputError(f"{text!r} is no box.", "Write it as LABEL:LEFT,TOP,RIGHT,BOTTOM in pixels: scratch:10,20,60,80.") from error
    return LabelledBox(label, Box(left, top, right, bottom))


def _said(by: str, why: str, status: QueueStatus | None, again: str) -> Said:
    from sync.review.said import Said

    return Said(by, why, status.value if status else None, again)


def _window() -> Window:
    from labelwheel.database import get_database
    from sync.jobs import open_client
    from sync.review.window import open_window

    return open_window(get_database(), get_settings(), open_client(get_settings()))


def _tell(item: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(item, indent=2))
        return
    from labelwheel.project import current_classes

    task = f", task {item['task']} in Label Studio" if item["task"] else ""
    screen.print(f"Item [bold]{item['id']}[/] is [bold]{item['status']}[/] ({escape(item['reason'])}{task})", highlight=False)
    screen.print(f"{escape(item['external_id'])} of {escape(item['source'])}, {item['width']} × {item['height']} pixels", highlight=False)
    known = with_project(lambda session, project, _: current_classes(session, project.id))
    show([_said_when(event, "status") for event in item["history"]], False, title="History")
    for label in item["labels"]:
        approved = f", approved by {label['approved_by'] or label['annotator']}" if label["approved_at"] else ", not approved"
        screen.print(f"Label of {escape(label['annotator'])}, {ago(label['annotated_at'])}{escape(approved)}", highlight=False)
        show([_box(box, known) for box in label["boxes"]], False, empty="  Nothing is there.")
    if item["reviews"]:
        show([_said_when(review, "verdict") for review in item["reviews"]], False, title="Verdicts")


def _said_when(entry: dict[str, Any], what: str) -> dict[str, Any]:
    return {"when": ago(entry["at"]), **{name: entry[name] for name in (what, "who", "why")}}


def _box(box: dict[str, Any], known: ClassMap) -> dict[str, Any]:
    return {"label": known.told(box["label"]), "box": ", ".join(f"{edge:.1f}" for edge in box["box"])}
