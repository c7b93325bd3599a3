"""`labelwheel retrain`, `cancel`, `conditions` and `receipt`: a training asked for, foreseen, followed, ended and settled."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.errors import InputError, LabelwheelError
from labelwheel.settings import Settings, get_settings

KINDS = {"cause": "calls for it", "guard": "lets it go"}
SPLITS = ("train", "replay", "holdout")
OPTIONS = {"start": "--from"}  # where an option has another name than the field
LOOK_SECONDS = 1.0

Run = Annotated[int, typer.Argument(metavar="RUN", help="Number of the run.")]


def conditions(as_json: AsJson = False) -> None:
    """Say whether a retraining is due, and why: each condition in words and numbers. Exit code 0 either way.

    Example: labelwheel conditions --json
    """
    from retrain.policy import conditions

    answer = with_project(conditions)
    if as_json:
        typer.echo(json.dumps(answer, indent=2, default=str))
        return
    show(table(answer["reasons"]), False)
    screen.print(answer["told"], highlight=False)


def retrain(
    start: Annotated[str, typer.Option("--from", help="champion, scratch, or a version of ours such as labelwheel@3.")] = "",
    updates: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the network's input, in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in one update.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's; a warm start takes it as it is.")] = None,
    architecture: Annotated[str | None, typer.Option(help="Ultralytics architecture, with --from scratch.")] = None,
    freeze: Annotated[int | None, typer.Option(help="So many of the first layers keep their weights.")] = None,
    augmentations: Annotated[str | None, typer.Option(help="Such as 'fliplr=0 degrees=10'.")] = None,
    note: Annotated[str, typer.Option(help="Why; kept with the run.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be trained, and what the policy says.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, also where the policy would not train.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Show how far it is, until it has ended. Exit code 1 if it failed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start a retraining now. Only one runs at a time. What is not named is as the settings say.

    It shows what would be trained, and asks where the policy would not do it.

    Example: labelwheel retrain --dry-run

    Example: labelwheel retrain --yes --wait --note "The camera of line-2 was replaced"

    Example: labelwheel retrain --from scratch --architecture yolo11s --image-size 960 --updates 800
    """
    from retrain.run.preview import preview

    logs_to_stderr()
    asked = {
        "start": start,
        "updates": updates,
        "image_size": image_size,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "architecture": architecture,
        "freeze": freeze,
        "augmentations": augmentations,
    }
    found = with_project(lambda session, project, settings: preview(session, project, settings, asked, option))
    if dry_run and as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not as_json:
        _show_preview(found)
    if dry_run:
        return
    _ask(found["conditions"], yes)
    run_id = _start(asked, note)
    if not as_json:
        screen.print(f"[green]✓[/] Training {run_id} is queued. Watch it on {get_settings().console_url}.", highlight=False)
    _end(run_id, wait, as_json)


def cancel(
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", help="Number of the run. Without it: the one under way.")] = None,
    why: Annotated[str, typer.Option(help="Why; kept with the run.")] = "",
) -> None:
    """End a training; its trainer is gone within seconds. The champion stays, and so do all labels.

    The policy does not start it again on the same labels.

    Example: labelwheel cancel --why "Half of the labels are wrong"
    """
    from labelwheel.database import get_database
    from retrain.run.trigger import cancel_by_hand

    project_id = with_project(lambda _session, project, _settings: project.id)
    ended = cancel_by_hand(get_database(), project_id, run, getpass.getuser(), why)
    screen.print(f"[green]✓[/] Training {ended} is cancelled.", highlight=False)


def receipt(run: Run, as_json: AsJson = False) -> None:
    """Say what the labels of a run bought, and what they cost: over the champion, and over a control that trained as long without them.

    Example: labelwheel receipt 4
    """
    from retrain.run.receipt import receipt

    found = with_project(lambda session, project, settings: receipt(session, project.id, run, settings))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in found["lines"]:
        screen.print(line, highlight=False)
    for title, rows in (("By class, AP50", found["per_class"]), ("By source, mAP50", found["per_source"])):
        if rows:
            show([row | {over: _won(row[over]) for over in ("over_champion", "over_control")} for row in rows], False, title=title)


def _won(gain: Mapping[str, Any] | None) -> str:
    """A gain with its bounds."""
    if gain is None:
        return ""
    return f"{gain['gain']:+.3f}" + (f" ({gain['lower']:+.3f} to {gain['upper']:+.3f})" if gain["lower"] is not None else "")


def option(field: str) -> str:
    """What `retrain` calls a field of a request."""
    return OPTIONS.get(field, f"--{field.replace('_', '-')}")


def table(reasons: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The policy's conditions as rows."""
    return [{"met": "yes" if reason["met"] else "no", "condition": KINDS[reason["kind"]], "reason": reason["text"]} for reason in reasons]


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A preview in words."""
    images = ", ".join(f"{count} {split}" for split, count in found["images"].items())
    yield f"From {found['start']}: {found['updates']} updates ({found['epochs']} epochs) at {found['image_size']} px, {_duration(found)}."
    yield f"Images: {images}; {found['new_labels']} of them with labels that no weights have seen, {found['background']} without a box."
    if found["excluded"]:
        yield f"Left out: {found['excluded']}, quarantined."
    yield f"The policy: {found['conditions']['told']}"


def _duration(found: Mapping[str, Any]) -> str:
    if found["seconds"] is None:
        return "how long it takes is not known: nothing was trained here yet"
    return f"about {found['seconds'] / 60:.0f} minutes at the pace of training {found['paced_by']}"


def _show_preview(found: Mapping[str, Any]) -> None:
    for title, heading, counts in (("Boxes by class", "class", found["by_class"]), ("Images by source", "source", found["by_source"])):
        rows = [{heading: name, **{split: by.get(split, 0) for split in SPLITS}} for name, by in counts.items()]
        if rows:
            show(rows, False, title=title)
    for line in lines(found):
        screen.print(line, highlight=False)


def _ask(policy: Mapping[str, Any], yes: bool) -> None:
    """Nothing is trained unasked where the policy would not; another run under way is said when it is asked for."""
    if policy["should_retrain"] or yes or policy["inputs"]["active_run"] is not None:
        return
    if not sys.stdin.isatty():
        raise InputError(f"It was not started. {policy['told']}", "Pass --yes to train all the same; `labelwheel conditions` says more.")
    typer.confirm("Train all the same?", abort=True, err=True)


def _start(asked: Mapping[str, Any], note: str) -> int:
    from labelwheel.database import get_database
    from retrain.run.trigger import by_hand

    project_id = with_project(lambda _session, project, _settings: project.id)
    return by_hand(get_database(), get_settings(), project_id, asked, getpass.getuser(), note).id


def _end(run_id: int, wait: bool, as_json: bool) -> None:
    """Say how it stands, at its end if that is waited for."""
    from retrain.run.status import one

    if wait:
        _follow(run_id, silent=as_json)
    found = with_project(lambda session, project, _settings: one(session, project, run_id))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif wait:
        reasons = found["gate"]["reasons"] if found["gate"] else [found["error"] or ""]
        screen.print(f"Training {run_id}: {found['status'].replace('_', ' ')}. {' '.join(reasons)}", highlight=False)
    if wait and found["status"] in ("failed", "cancelled"):
        raise typer.Exit(1)


def _follow(run_id: int, silent: bool) -> None:
    """Until it has ended. Ctrl-C ends the waiting, not the run."""
    from console.progress import look_at
    from labelwheel.database import get_database
    from labelwheel.database.tables import ACTIVE_RUN_STATUSES

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}"),
    )
    with nullcontext() if silent else Progress(*columns, console=screen) as bar:
        task = bar.add_task("queued", total=100, eta="") if bar else None
        while (seen := look_at(get_database(), run_id)) and seen["status"] in ACTIVE_RUN_STATUSES:
            if bar and task is not None:
                eta = seen["eta_seconds"]
                bar.update(task, completed=seen["percent"], description=seen["status"], eta=f"{eta / 60:.0f} min left" if eta else "")
            time.sleep(LOOK_SECONDS)


def interrupted(settings: Settings) -> str:
    """What `down` breaks off, in a sentence; "" when nothing is under way, or nothing can be read."""
    from sqlalchemy.exc import SQLAlchemyError

    from console.progress import active_run, look_at
    from labelwheel.database import get_database
    from labelwheel.project import current_project

    try:
        database = get_database(settings.database_url)
        with database.read() as session:
            project_id = current_project(session, settings).id
        run_id = active_run(database, project_id)
        seen = look_at(database, run_id) if run_id is not None else None
    except (LabelwheelError, SQLAlchemyError):  # stopping comes first
        return ""
    if seen is None:
        return ""
    return f"Training {run_id} is interrupted at {seen['percent']:.0f} %. It goes on from its last checkpoint at the next `labelwheel up`."
