"""`labelwheel model`: bring weights, see every version, and let another one serve."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from console.promote import Override, gated, judged, verdict_of
from console.screen import AsJson, logs_to_stderr, screen, show, with_project
from labelwheel.errors import InputError
from labelwheel.settings import get_settings

if TYPE_CHECKING:
    from labelwheel.database.tables import ModelVersion
    from labelwheel.vision.class_match import Matching
    from labelwheel.vision.label_config import Slot
    from retrain.model.adopt import Adopted, Adoption
    from retrain.model.promote import Promotion

app = typer.Typer(help="Bring your weights, list versions, deploy one.", no_args_is_help=True)

Alias = Annotated[str, typer.Option(help='Let it serve under this alias: tags name it as `model="NAME@ALIAS"`. Without it: champion.')]
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
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Ultralytics weights (.pt) of any task, or an ONNX export of them.")],
    renames: Renames = None,
    ignore_others: IgnoreOthers = False,
    name: Annotated[
        str, typer.Option(help='Its name in the registry, for tags that name it: `model="NAME"`. Without it: a champion.')
    ] = "",
    alias: Alias = "",
    trust: Annotated[bool, typer.Option("--trust", help="Load a .pt without asking: you know where it is from.")] = False,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="Let it serve now, if the gate agrees. Without a model it does so anyway.")
    ] = False,
    note: Annotated[str, typer.Option(help="Why it is deployed; kept with the decision.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a model of yours a version like a trained one. Importing the same file again changes nothing.

    Its classes are matched with the labels by name. A .pt is exported to ONNX, and refused unless ONNX answers as torch does.

    Example: labelwheel model import best.pt --map scratch_v2=scratch --map dust= --deploy

    Example: labelwheel model import grader-cls.pt --name grade
    """
    from labelwheel.database import get_database
    from labelwheel.vision.class_match import parse_renames
    from retrain.model.adopt import Adoption, Offer

    project = with_project(lambda _session, project, _settings: project)
    offer = Offer(path, parse_renames(renames or []), ignore_others, _checked(name, 64))
    adoption = Adoption(get_database(), get_settings(), project, offer)
    adopted = adoption.known()
    if adopted is None:
        if offer.is_code and not trust:
            _ask(path)
        adopted = _run(adoption, as_json)
    serves, asked = _deploy(adopted, deploy, note or f"Imported from {path.name}.", _slot(adopted.version, alias))
    _tell(adopted, serves, asked, as_json)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """Show every version, newest first: where it serves, task, mAP50 on the holdout, origin, and when it was deployed last.

    Example: labelwheel model list
    """
    from retrain.model.catalogue import catalogue

    rows = with_project(lambda session, project, _: catalogue(session, project.id))
    show(rows, as_json, empty="There is no model yet. Train one (`labelwheel conditions`), or bring one: `labelwheel model import FILE`.")


@app.command("deploy")
def deploy_model(
    version: Annotated[str, typer.Argument(help="A version as `labelwheel model list` names it, or its number.")],
    note: Annotated[str, typer.Option(help="Why; kept with the decision.")],
    alias: Alias = "",
    override: Override = False,
    as_json: AsJson = False,
) -> None:
    """Let a version serve. As the champion it must pass the gate, as with `labelwheel promote`; under another alias it need not.

    Every server follows within seconds, and open tasks get what it finds. Exit code 1 if the champion stays.

    Example: labelwheel model deploy 4 --note "Trained in the lab."

    Example: labelwheel model deploy grade@2 --alias candidate --note "On trial at line 2."
    """
    from labelwheel.database import get_database
    from retrain.model.catalogue import find
    from retrain.model.deploy import deploy_by_hand

    if not note.strip():
        raise InputError("The note is empty.", "Say why this version shall serve: whoever comes next wants to know.")
    chosen = with_project(lambda session, project, _: find(session, project.id, version, get_settings().model_name))
    slot = _slot(chosen, alias)
    if not slot.name:
        raise typer.Exit(gated(chosen, note, override, as_json, "deploy"))
    row, fresh = deploy_by_hand(get_database(), get_settings(), chosen.id, note.strip(), slot)
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


def _deploy(adopted: Adopted, wanted: bool, note: str, slot: Slot) -> tuple[str | None, Promotion | None]:
    """`served_as` of what serves in the slot after it, if that is this version; and what the gate said, if it was asked."""
    from labelwheel.database import get_database
    from labelwheel.serving import newest_deployment
    from retrain.model.deploy import deploy_by_hand

    present, asked = with_project(lambda session, project, _: newest_deployment(session, project.id, slot)), None
    if wanted and not slot.name:
        asked = judged(adopted.version, note, False, "import")
        present = asked.deployment
    elif wanted or present is None:
        present, _ = deploy_by_hand(get_database(), get_settings(), adopted.version.id, note, slot)
    return (present.served_as if present and present.model_version_id == adopted.version.id else None), asked


def _slot(version: ModelVersion, alias: str) -> Slot:
    """Where a version is to serve: the wheel's own model as the champion, unless it is to have an alias other than that."""
    from labelwheel.vision.label_config import CHAMPION, Slot

    ours = version.name == get_settings().model_name and alias in ("", CHAMPION.alias)
    return CHAMPION if ours else Slot(version.name, _checked(alias, 20) or CHAMPION.alias)


def _checked(name: str, longest: int) -> str:
    """What a label config can name."""
    from labelwheel.database.tables import DEFAULT_TAG

    if name == DEFAULT_TAG:
        raise InputError(f"{name!r} is what the champion's place is called in the tables.", "Choose another name.")
    if name and not re.fullmatch(rf"[\w-]{{1,{longest}}}", name, re.ASCII):
        raise InputError(f"{name!r} is no name of a model or alias.", f"Use letters, digits, - and _, at most {longest}.")
    return name


def _tell(adopted: Adopted, serves: str | None, asked: Promotion | None, as_json: bool) -> None:
    title = adopted.version.title
    if as_json:
        told: dict[str, Any] = {"version": title, "fresh": adopted.fresh, "served_as": serves, "classes": adopted.classes}
        typer.echo(json.dumps(told | {"gate": verdict_of(asked) if asked else None}, indent=2))
        return
    screen.print(f"[green]✓[/] {'It is' if adopted.fresh else 'Known already: it is'} {title}.", highlight=False)
    for reason in asked.told if asked else ():
        screen.print(f"  {reason}", highlight=False, markup=False, soft_wrap=True)
    how = f"It serves, as {serves}." if serves else f"It does not serve. Let it: `labelwheel promote {title}`."
    screen.print(f"  {how}", highlight=False)
    if not adopted.version.weights_uri:
        screen.print("  It has no weights to train on: the next training starts anew, from all labels.")
