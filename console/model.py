"""`labelwheel model`: bring weights, see every version, and let another one serve."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.errors import InputError
from labelwheel.settings import get_settings

if TYPE_CHECKING:
    from labelwheel.vision.class_match import Matching
    from retrain.adopt import Adopted, Adoption

app = typer.Typer(help="Bring your weights, list versions, deploy one.", no_args_is_help=True)

Renames = Annotated[
    list[str] | None, typer.Option("--map", metavar="CLASS=LABEL", help="What a class is here; without LABEL it is ignored. Repeat it.")
]
IgnoreOthers = Annotated[bool, typer.Option("--ignore-others", help="Ignore every class that is no label here.")]
WARNING = (
    "is a PyTorch file: loading it runs whatever code it carries, with your rights on this machine. "
    "We load it in a process of its own and without our secrets, but that is a fence, not a prison."
)


@app.callback()
def group() -> None:
    """Bring your weights, list versions, deploy one."""
    logs_to_stderr()


@app.command("import")
def import_model(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Ultralytics detection weights (.pt), or an ONNX export of them.")],
    renames: Renames = None,
    ignore_others: IgnoreOthers = False,
    trust: Annotated[bool, typer.Option("--trust", help="Load a .pt without asking: you know where it is from.")] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="Let it serve now. Without a model it does so anyway.")] = False,
    note: Annotated[str, typer.Option(help="Why it is deployed; kept with the decision.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a model of yours a version like a trained one. Importing the same file again changes nothing.

    Its classes are matched with the labels by name. A .pt is exported to ONNX, and refused unless ONNX answers as torch does.

    Example: labelwheel model import best.pt --map scratch_v2=scratch --map dust= --deploy
    """
    from labelwheel.database import get_database
    from labelwheel.vision.class_match import parse_renames
    from retrain.adopt import Adoption, Offer

    project = with_project(lambda _session, project, _settings: project)
    offer = Offer(path, parse_renames(renames or []), ignore_others)
    adoption = Adoption(get_database(), get_settings(), project, offer)
    adopted = adoption.known()
    if adopted is None:
        if offer.is_code and not trust:
            _ask(path)
        adopted = _run(adoption, as_json)
    serves = _deploy(adopted, deploy, note or f"Imported from {path.name}.")
    _tell(adopted, serves, as_json)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show every version, newest first: role, mAP50 on the holdout, origin, and when it was deployed last.

    Example: labelwheel model list
    """
    from retrain.catalogue import catalogue

    rows = with_project(lambda session, project, _: catalogue(session, project.id))
    show(rows, as_json, empty="There is no model yet. Train one (`labelwheel conditions`), or bring one: `labelwheel model import FILE`.")


@app.command("deploy")
def deploy_model(
    version: Annotated[str, typer.Argument(help="A version as `labelwheel model list` names it, or its number.")],
    note: Annotated[str, typer.Option(help="Why; kept with the decision.")],
) -> None:
    """Let a version serve, an earlier one too. Every server follows within seconds, and open tasks get its boxes.

    Example: labelwheel model deploy 3 --note "Version 4 misses scratches on line 2."
    """
    from labelwheel.database import get_database
    from retrain.catalogue import find
    from retrain.deploy import deploy_by_hand

    if not note.strip():
        raise InputError("The note is empty.", "Say why this version shall serve: whoever comes next wants to know.")
    chosen = with_project(lambda session, project, _: find(session, project.id, version))
    row, fresh = deploy_by_hand(get_database(), get_settings(), chosen.id, note.strip())
    screen.print(f"[green]✓[/] {chosen.title} {'serves now' if fresh else 'serves already'}, as {row.served_as}.", highlight=False)


def _ask(path: Path) -> None:
    """Nothing of the file is loaded before a person said yes."""
    if sys.stdin.isatty():
        typer.echo(f"{path.name} {WARNING}", err=True)
        if typer.confirm("Load it?", default=False, err=True):
            return
    raise InputError(
        f"{path.name} {WARNING} It was not loaded.",
        "Pass --trust if you know where it is from, or bring an ONNX export: ONNX holds no code.",
    )


def _run(adoption: Adoption, as_json: bool) -> Adopted:
    errors = Console(stderr=True)

    def tell(matching: Matching) -> None:
        if not as_json:
            show(matching.rows(), False, title="Its classes and our labels", to=errors if matching.unknown else screen)

    with errors.status("Loading, exporting and comparing …"):
        return adoption.run(tell)


def _deploy(adopted: Adopted, wanted: bool, note: str) -> str | None:
    """`served_as` of what serves after it, if that is this version."""
    from labelwheel.database import get_database
    from labelwheel.serving import newest_deployment
    from retrain.deploy import deploy_by_hand

    present = with_project(lambda session, project, _: newest_deployment(session, project.id))
    if wanted or present is None:
        present, _ = deploy_by_hand(get_database(), get_settings(), adopted.version.id, note)
    return present.served_as if present and present.model_version_id == adopted.version.id else None


def _tell(adopted: Adopted, serves: str | None, as_json: bool) -> None:
    title = adopted.version.title
    if as_json:
        told: dict[str, Any] = {"version": title, "fresh": adopted.fresh, "served_as": serves, "classes": adopted.classes}
        typer.echo(json.dumps(told, indent=2))
        return
    screen.print(f"[green]✓[/] {'It is' if adopted.fresh else 'Known already: it is'} {title}.", highlight=False)
    how = (
        f"It serves, as {serves}."
        if serves
        else f"It does not serve. Let it: `labelwheel model deploy {adopted.version.version} --note …`."
    )
    screen.print(f"  {how}", highlight=False)
    if not adopted.version.weights_uri:
        screen.print("  It has no weights to train on: the next training starts anew, from all labels.")
