"""`labelwheel dataset`: bring labelled images that you have."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.errors import InputError
from labelwheel.settings import get_settings

if TYPE_CHECKING:
    from console.dataset.bring import Outcome
    from console.dataset.found import Found
    from labelwheel.vision.class_match import Matching

app = typer.Typer(help="Bring labelled images that you have.", no_args_is_help=True)

LONGEST_SOURCE = 100
SHOWN = 20


class Holdout(StrEnum):
    draw = "draw"
    keep = "keep"
    none = "none"


@app.callback()
def group() -> None:  # with it, one command alone still goes by its name
    """Bring labelled images that you have."""
    logs_to_stderr()


@app.command("import")
def import_dataset(
    folder: Annotated[Path, typer.Argument(help="Folder in YOLO's layout (data.yaml, images, labels), or with COCO files and images.")],
    source: Annotated[str | None, typer.Option(help="Source of the captures. Default: the folder's name.")] = None,
    renames: Annotated[
        list[str] | None, typer.Option("--map", metavar="CLASS=LABEL", help="What a class is here; without LABEL it is ignored. Repeat it.")
    ] = None,
    ignore_others: Annotated[bool, typer.Option("--ignore-others", help="Ignore every class that is no label here.")] = False,
    captured_at: Annotated[str | None, typer.Option(help="ISO 8601 time of all captures. Default: COCO's, else the file's own.")] = None,
    holdout: Annotated[
        Holdout, typer.Option(help="What judges models: draw (by lot, never training images), keep (val and test do), none.")
    ] = Holdout.draw,
    count_as_new: Annotated[bool, typer.Option("--count-as-new", help="Let the labels count towards the next training.")] = False,
    background: Annotated[bool, typer.Option("--background", help="On an image without a label file there is nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Import images with their labels as reviewed ones, for replay: the set that your weights came from.

    Bad files and boxes are named and left out; the exit code is 1 if there were any. Running it again changes nothing.

    Example: labelwheel dataset import ~/boards --source line-1 --map scratch_v2=scratch --holdout keep
    """
    from rich.progress import track

    from console.dataset.bring import Rules, bring, survey
    from labelwheel import queue
    from labelwheel.database import get_database

    project = with_project(lambda _session, project, _settings: project)
    found = survey(folder)
    matching = _matching(found, renames or [], ignore_others, as_json)
    rules = Rules(_source(source or folder.resolve().name), holdout.value, count_as_new, background, _moment(captured_at))
    steps = bring(get_database(), get_settings(), project, found, matching, rules)
    outcomes = list(steps if as_json else track(steps, total=len(found.samples), description="Importing", console=screen))
    if count_as_new and any(outcome.status == "imported" for outcome in outcomes):
        queue.ring("retrain.consider")
    _tell(found, outcomes, as_json)


def _matching(found: Found, renames: list[str], ignore_others: bool, as_json: bool) -> Matching:
    from labelwheel.project import current_class_map
    from labelwheel.vision.class_match import Vocabulary, drawable, match_classes, parse_renames
    from labelwheel.vision.label_config import parse

    known = with_project(lambda session, project, _: drawable(parse(project.label_config), current_class_map(session, project.id).labels))
    matching = match_classes(found.names, Vocabulary(known), parse_renames(renames), ignore_others=ignore_others)
    if not as_json:
        show(matching.rows(), False, title="Its classes and our labels")
    if found.names:  # a set of images on which nothing is has none
        matching.demand()
    return matching


def _source(name: str) -> str:
    if not 0 < len(name.strip()) <= LONGEST_SOURCE or not name.isprintable():
        raise InputError(f"{name!r} is no name of a source.", f"Give --source of at most {LONGEST_SOURCE} printable characters.")
    return name.strip()


def _moment(given: str | None) -> datetime | None:
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{given!r} is no time.", "Write it as 2026-11-23T08:00:00Z.") from error


def _tell(found: Found, outcomes: list[Outcome], as_json: bool) -> None:
    faults = [*found.faults, *(f"{outcome.name}: {fault}" for outcome in outcomes for fault in outcome.faults)]
    counts = Counter(outcome.status for outcome in outcomes)
    splits = Counter(outcome.split for outcome in outcomes if outcome.split)
    told: dict[str, Any] = {
        **{status: counts[status] for status in ("imported", "known", "skipped")},
        "boxes": sum(outcome.boxes for outcome in outcomes),
        **{split: splits[split] for split in ("train", "holdout")},
        "faults": len(faults),
    }
    if as_json:
        typer.echo(json.dumps({**told, "faults": faults}, indent=2))
    else:
        for fault in faults[:SHOWN]:
            screen.print(f"[red]✗[/] {escape(fault)}", highlight=False)
        show([told], False)
        if len(faults) > SHOWN:
            screen.print(f"  … and {len(faults) - SHOWN} more faults; `--json` names them all.")
    raise typer.Exit(1 if faults else 0)
