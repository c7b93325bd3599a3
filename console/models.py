"""`labelwheel models`: every version, which one is the champion, and where each comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.settings import get_settings

app = typer.Typer(help="Show every model version, and where it comes from.")

EMPTY = "There is no model yet. Train one (`labelwheel conditions`), or bring one: `labelwheel model import FILE`."
COLUMNS = ("version", "map50", "holdout", "images", "deployed_at", "decision", "origin")


@app.callback(invoke_without_command=True)
def listing(context: typer.Context, as_json: AsJson = False) -> None:
    """Show every version, newest first: mAP50 and the holdout that it is of, since when it served, and what was decided.

    A star marks the champion. Scores of different holdouts are not to be compared.

    Example: labelwheel models

    Example: labelwheel models show 3
    """
    from retrain.model.catalogue import catalogue

    if context.invoked_subcommand is not None:
        return
    logs_to_stderr()
    rows = with_project(lambda session, project, _: catalogue(session, project.id))
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    shown = [{"": "★" if row["champion"] else "", **{name: row[name] for name in COLUMNS}, "serves as": row["role"]} for row in rows]
    show(shown, False, empty=EMPTY)


@app.command("show")
def show_model(
    version: Annotated[str, typer.Argument(help="A version as `labelwheel models` names it, or its number.")], as_json: AsJson = False
) -> None:
    """Say where a version comes from: dataset, labels, who labelled and approved, decisions, class map, thresholds, files with their hashes.

    Example: labelwheel models show 3 --json
    """
    from retrain.model.catalogue import find
    from retrain.model.provenance import provenance

    logs_to_stderr()

    def read(session: Any, project: Any, settings: Any) -> dict[str, Any]:
        return provenance(session, project, settings, find(session, project.id, version, get_settings().model_name))

    found = with_project(read)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for line in lines(found):
        screen.print(line, highlight=False, markup=False)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A provenance in words."""
    yield f"{found['version']} ({found['task']}), made {found['created_at']}"
    for file in found["files"]:
        yield f"  {file['kind']}: {file['uri'] or 'none'}{_hashed(file)}"
    yield f"  classes (map {found['class_map_version']}): {', '.join(f'{number} {name}' for number, name in found['classes'].items())}"
    for tag, shows in found["thresholds"].items():
        yield f"  shown in {tag} from: {', '.join(f'{label} {_threshold(value)}' for label, value in shows.items())}"
    yield from _trained(found)
    for row in found["deployments"]:
        why = " ".join(row["decision"]["reasons"]) if row["decision"] else "no decision is stored"
        yield f"  deployed {row['at']} as {row['served_as']}: {why}"
    if not found["deployments"]:
        yield "  never deployed"


def _trained(found: Mapping[str, Any]) -> Iterator[str]:
    training, dataset = found["training"], found["dataset"]
    if found["origin"]:
        yield f"  imported from {found['origin']['origin']}"
    if training:
        asked = "".join(f", {name} {value}" for name, value in {**(training["slice"] or {}), **training["request"]}.items())
        yield f"  training {training['run']}: {training['cause']}{asked}; against {training['champion'] or 'no champion'}: {training['status']}"
        for name in ("policy", "gate"):
            if training[name]:
                yield f"  {name} (decision {training[name]['id']}): {' '.join(training[name]['reasons'])}"
    if dataset:
        yield f"  dataset {dataset['hash']}, DVC {dataset['dvc'] or 'none'}, holdout {dataset['holdout'] or 'not versioned'}"
        yield f"  labels: {_counts(dataset['labels'])}; drawn by {_counts(dataset['annotators'])}; approved by {_counts(dataset['approved_by'])}"


def _hashed(file: Mapping[str, Any]) -> str:
    if file["sha256"] is None:
        return ", not on this disk" if file["uri"] else ""
    return f", SHA-256 {file['sha256']}{'' if file['as_recorded'] in (True, None) else ': NOT the file that was kept'}"


def _threshold(value: float | None) -> str:
    return "never" if value is None else f"{value:g}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "nobody"
