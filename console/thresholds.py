"""`labelwheel thresholds`: what is suggested, as a person reads it, and writing it into the project's label config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer
from rich.console import Console
from sqlalchemy.orm import Session

from console.connect import connect, open_client
from console.screen import screen
from console.whereabouts import Whereabouts
from labelwheel.database.tables import Project
from labelwheel.errors import ConflictError
from labelwheel.project import current_classes
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.label_config import parse
from labelwheel.vision.thresholds import with_thresholds
from sync.corrections.suggest import current, suggestions

NO_MODEL = (
    "No model serves yet: no box is drawn for people, from whatever confidence. `labelwheel conditions` says how many labels the first "
    "model lacks; `labelwheel model import` brings yours. What people do to its boxes is what this command learns from."
)


def current_rows(session: Session, project: Project, settings: Settings) -> list[dict[str, Any]]:
    """From which confidence each class is shown now, by the name that it has today."""
    known, shown = current_classes(session, project.id), current(parse(project.label_config), settings)
    return [{"class": known.told(label), "threshold": value} for label, value in shown.items()]


def suggested(session: Session, project: Project, settings: Settings) -> tuple[dict[str, Any], Project]:
    """What is suggested, and the project that it is for; without a model nothing is, and `why_nothing` says what comes first."""
    if newest_deployment(session, project.id) is None:
        return {"classes": [], "why_nothing": NO_MODEL}, project
    known, found = current_classes(session, project.id), suggestions(session, project, settings)
    named = [{**one, "class": known.told(one["label"])} for one in found["classes"]]
    return {**found, "classes": named, "why_nothing": ""}, project


def better(found: Mapping[str, Any]) -> dict[str, float]:
    """The thresholds that are better than those of now, by label."""
    return {one["label"]: one["suggested"] for one in found["classes"] if one["verdict"] == "better"}


def ask_and_apply(settings: Settings, project: Project, thresholds: Mapping[str, float], yes: bool, quiet: bool) -> None:
    """Apply what is better, if there is anything and the person agrees. `quiet`: standard output is for machines."""
    said = Console(stderr=True) if quiet else screen
    if not thresholds:
        said.print("Nothing is better: the label config stays as it is.")
        return
    Whereabouts(settings)()  # what follows connects anew
    told = ", ".join(f"{label} from {value:.2f}" for label, value in thresholds.items())
    if not yes:
        typer.confirm(f"Write into the label config of {project.title!r}: {told}?", abort=True, err=quiet)
    apply(settings, project, thresholds)
    said.print(f"[green]✓[/] The label config of [bold]{project.title}[/] shows {told}. Open tasks follow.")


def apply(settings: Settings, project: Project, thresholds: Mapping[str, float]) -> None:
    """Write the thresholds into the project's label config in Label Studio, then connect anew: open tasks follow.

    ConflictError when the config was edited since we read it: what was suggested may not hold any more.
    """
    client = open_client(settings)
    xml = client.project(project.ls_project_id).label_config
    if xml != project.label_config:
        raise ConflictError(
            "The label config was edited in Label Studio meanwhile.", "Run `labelwheel connect`, then look at the suggestion again."
        )
    client.set_label_config(project.ls_project_id, with_thresholds(xml, thresholds))
    connect(settings)


def table(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row for each class. What nobody can tell to be better changes nothing, so it saves nothing; JSON has the estimate all the same."""
    return [
        {
            "class": one["class"],
            "now": f"{one['current']:.2f}",
            "suggested": f"{one['suggested']:.2f}",
            "saves (s an image)": _saved(one),
            "boxes": one["boxes"],
            "verdict": "no other is surely better" if one["verdict"] == "as good" else one["verdict"],
        }
        for one in found["classes"]
    ]


def _saved(one: Mapping[str, Any]) -> str:
    return f"{one['saves']['value']:.2f}  [{one['saves']['low']:.2f} to {one['saves']['high']:.2f}]" if one["verdict"] == "better" else ""


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What all this stands on, and what it comes to."""
    acts = ", ".join(f"{name} {one['value']:.1f}" for name, one in found["acts"].items())
    yield f"From {found['images']} approved images that {found['model_version']} was not trained on."
    yield f"Seconds of each act, from {found['annotations']} annotations: {acts}."
    yield f"A review takes [bold]{_told(found['seconds_now'])}[/] now, {_told(found['seconds_then'])} with what is better."


def _told(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.1f} s ({estimate['low']:.1f} to {estimate['high']:.1f})"
