"""`labelwheel dataset`: bring labelled images that you have; see the versions that were trained on, and bring one back."""

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

app = typer.Typer(help="Bring labelled images that you have; see versions, and bring one back.", no_args_is_help=True)

Version = Annotated[str, typer.Argument(help="A version's hash, or how it begins (4 characters or more).")]

LONGEST_SOURCE = 100
SPLITS = ("train", "replay", "holdout")
SHOWN = 20


class Holdout(StrEnum):
    draw = "draw"
    keep = "keep"
    none = "none"


@app.callback()
def group() -> None:
    """Bring labelled images that you have; see the versions that were trained on, and bring one back."""
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


@app.command("list")
def list_versions(as_json: AsJson = False) -> None:
    """Show every dataset version, newest first: its images by split, the version of its holdout, and the runs that used it.

    Scores compare only where they were taken on the same version of the holdout.

    Example: labelwheel dataset list
    """
    from retrain.dataset.catalogue import listing

    rows = with_project(lambda session, project, _: listing(session, project.id))
    show(rows, as_json, empty="There is no version yet: the first training makes one.")


@app.command("show")
def show_version(version: Version, as_json: AsJson = False) -> None:
    """Show what a version holds: classes and sources by split, what was left out, and which runs used it.

    Example: labelwheel dataset show 3f9a1c
    """
    from retrain.dataset.catalogue import describe, find

    told = with_project(lambda session, project, _: describe(session, find(session, project.id, version)))
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    counts = told.pop("counts")
    tables = {name: counts.pop(name, {}) for name in ("boxes_by_split", "sources_by_split")}
    show([{"what": name, "value": value} for name, value in {**told, **counts}.items()], False)
    for (name, table), heading in zip(tables.items(), ("class", "source"), strict=True):
        rows = [{heading: row, **{split: found.get(split, 0) for split in SPLITS}} for row, found in table.items()]
        show(rows, False, title=name.replace("_", " "))


@app.command("restore")
def restore_version(
    version: Version,
    out: Annotated[
        Path | None, typer.Option(help="Folder that it becomes; it may not be there yet. Default: dataset-VERSION, here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring a version back as a folder that ultralytics reads, exactly as it was trained on but for what was erased since.

    What DVC's cache lacks is fetched from the remote (LABELWHEEL_DVC_REMOTE), also when nothing else is left.

    Example: labelwheel dataset restore 3f9a1c --out ~/boards-as-of-monday
    """
    from retrain.dataset.catalogue import SHORT, find
    from retrain.dataset.version import restore

    row = with_project(lambda session, project, _: find(session, project.id, version))
    folder = (out or Path(f"dataset-{row.content_hash[:SHORT]}")).expanduser().resolve()
    if folder.exists():
        raise InputError(f"{folder} is there already.", "Name a folder that is not: `--out FOLDER`.")
    settings = get_settings()
    restore(settings.home / "datasets", row.content_hash, settings.dvc_remote, out=folder, dvc_hash=row.dvc_hash or "")
    files = sum(path.is_file() for path in folder.rglob("*"))
    if as_json:
        typer.echo(json.dumps({"version": row.content_hash, "folder": str(folder), "files": files}, indent=2))
    else:
        screen.print(f"[green]✓[/] {files} files in {folder}.", highlight=False)


def _matching(found: Found, renames: list[str], ignore_others: bool, as_json: bool) -> Matching:
    from labelwheel.project import current_classes
    from labelwheel.vision.class_match import Vocabulary, drawable, match_classes, parse_renames
    from labelwheel.vision.label_config import parse

    known = with_project(lambda session, project, _: drawable(parse(project.label_config), current_classes(session, project.id)))
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
