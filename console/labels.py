"""`labelwheel labels`: what people said of images, what counts of it, and what shall not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.screen import AsJson, ago, logs_to_stderr, screen, show, with_project

if TYPE_CHECKING:
    from labelwheel.vision.class_map import ClassMap
    from sync.review.used import Used
    from sync.review.withdraw import Withdrawal

app = typer.Typer(help="See labels, derive them anew, take a bad annotator's out.", no_args_is_help=True)


class LabelStatus(StrEnum):
    approved = "approved"
    waiting = "waiting"
    rejected = "rejected"
    superseded = "superseded"
    withdrawn = "withdrawn"


@app.callback()
def group() -> None:
    """See labels, derive them anew, take a bad annotator's out."""
    logs_to_stderr()


@app.command("list")
def list_labels(
    status: Annotated[LabelStatus | None, typer.Option(help="Only labels of this status; those that are approved count.")] = None,
    annotator: Annotated[str | None, typer.Option(help="Only what this annotator said.")] = None,
    image: Annotated[str | None, typer.Option(help="Only of this image: its SHA-256, how that begins, or an external id.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show at most so many.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show labels, the newest first; with --json also their boxes, in pixels of the upright image.

    Example: labelwheel labels list --status waiting
    """
    from labelwheel.project import current_classes
    from sync.review.labels import listing

    rows = with_project(lambda session, project, _: listing(session, project.id, limit + 1, status and status.value, annotator, image))
    asked = status or annotator or image
    empty = "No label fits." if asked else "Nobody has labelled an image yet: `labelwheel queue` shows what waits."
    known = with_project(lambda session, project, _: current_classes(session, project.id))
    show(rows if as_json else [_short(row, known) for row in rows], as_json, empty=empty, limit=limit)


@app.command()
def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only look whether anything would change; exit code 1 if so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive every label anew from what Label Studio showed, what reviewers said and the approval policy.

    Example: labelwheel labels rebuild --check
    """
    from labelwheel.database import get_database
    from sync.review.reading import reading_of
    from sync.review.rebuild import rebuild

    project_id, reading = with_project(lambda session, project, settings: (project.id, reading_of(session, project, settings)))
    done = rebuild(get_database(), project_id, reading, check=check)
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=2))
    else:
        changed = "would change" if check else "changed"
        screen.print(f"{done.labels} labels of {done.images} images; of {len(done.differing)} images they {changed}.", highlight=False)
    raise typer.Exit(1 if check and done.differing else 0)


@app.command()
def withdraw(
    annotator: Annotated[str, typer.Option(help="Whose labels, as `labels list` spells the name.")],
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"], help="Only what was drawn from then on (UTC)."),
    ] = None,
    why: Annotated[str, typer.Option(help="Why; kept with each verdict.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Let people look again at images that are left without a label.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Bring back what was withdrawn.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and what has used it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take an annotator's labels out as they stand now, and name the datasets, runs and models that have used them.

    Nothing is deleted in Label Studio. What somebody else edits afterwards counts again.

    Example: labelwheel labels withdraw --annotator bert@plant.example --since 2026-11-01 --dry-run
    """
    from labelwheel.database import get_database
    from sync.review.labels import known_annotator
    from sync.review.reading import reading_of
    from sync.review.withdraw import reinstate, withdraw

    project, reading = with_project(lambda session, project, settings: (project, reading_of(session, project, settings)))
    with_project(lambda session, project, _: known_annotator(session, project.id, annotator))
    moment, reason = since and since.replace(tzinfo=UTC), why or ("taken back" if undo else "withdrawn by hand")
    told = (get_database(), project, reading, annotator, moment, getuser(), reason)
    done = reinstate(*told, dry_run=dry_run) if undo else withdraw(*told, dry_run=dry_run, again=again)
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=2))
        return
    for line in _told(done, undo, dry_run):
        screen.print(line, highlight=False)


def _short(row: dict[str, Any], classes: ClassMap) -> dict[str, Any]:
    names = ("id", "status", "image", "annotator", "drawn", "approved_by")
    drawn = ", ".join(classes.told(str(box["label"])) for box in row["boxes"]) or "nothing there"
    known = {**row, "image": row["image"][:12], "drawn": ago(row["annotated_at"])}
    return {**{name: known[name] for name in names}, "boxes": drawn}


def _told(done: Withdrawal, undo: bool, dry_run: bool) -> list[str]:
    act = {
        (False, False): "withdrawn",
        (False, True): "would be withdrawn",
        (True, False): "brought back",
        (True, True): "would be brought back",
    }
    head = f"{len(done.labels)} labels of {done.annotator} on {done.images} images {act[undo, dry_run]}."
    return [head, *used_lines(done.used)]


def used_lines(used: Used) -> list[str]:
    """What has used it, as a person reads it."""
    if not used.datasets:
        return ["No dataset has used them."]
    runs, models = ", ".join(map(str, used.runs)) or "none", ", ".join(used.models) or "none"
    lines = [f"Datasets that hold it: {', '.join(name[:12] for name in used.datasets)}. Runs: {runs}. Models trained with it: {models}."]
    return lines + ([f"Models that were started from these: {', '.join(used.descendants)}."] if used.descendants else [])
