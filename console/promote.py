"""`labelwheel promote` and `labelwheel rollback`: what serves, by the gate's leave or by a person's act."""

from __future__ import annotations

import json
from getpass import getuser
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from console.screen import AsJson, logs_to_stderr, screen, with_project
from labelwheel.settings import get_settings

if TYPE_CHECKING:
    from labelwheel.database.tables import ModelVersion
    from retrain.model.promote import Promotion

Override = Annotated[bool, typer.Option("--override", help="Let it serve whatever the gate says. Needs --note; recorded with your name.")]
Note = Annotated[str, typer.Option(help="Why; kept with the decision.")]
LEAVE = 'The champion stays. If you know better: `labelwheel promote {} --override --note "why"`.'


def promote(
    version: Annotated[str, typer.Argument(help="A version as `labelwheel model list` names it, or its number.")],
    note: Note = "",
    override: Override = False,
    as_json: AsJson = False,
) -> None:
    """Score a version, the champion and the best model so far on the present holdout, show the gate's verdict, and deploy if it agrees.

    Exit code 1 if the champion stays. An override is recorded as one, and does not lower what later models are measured against.

    Examples: labelwheel promote 4 · labelwheel promote 4 --override --note "Line 2 is rebuilt; the holdout does not show it yet."
    """
    logs_to_stderr()
    raise typer.Exit(gated(_found(version), note, override, as_json, "promote"))


def rollback(
    to: Annotated[
        str, typer.Option(help="A version that served before. Without it: the one that served before the present one; again: further back.")
    ] = "",
    note: Note = "",
    as_json: AsJson = False,
) -> None:
    """Let an earlier champion serve again, at once: every server follows within seconds. The gate is not asked.

    Later models are measured as before against the best one that ever served. Examples: labelwheel rollback · labelwheel rollback --to 3
    """
    from labelwheel.database import get_database
    from retrain.model.deploy import rollback as roll_back

    logs_to_stderr()
    chosen = _found(to).id if to else None
    project_id = with_project(lambda _session, project, _settings: project.id)
    row = roll_back(get_database(), get_settings(), project_id, note.strip(), chosen, getuser())
    title = row.model_version.title
    if as_json:
        typer.echo(json.dumps({"version": title, "served_as": row.served_as, "deployed_at": row.created_at.isoformat()}, indent=2))
        return
    screen.print(f"[green]✓[/] {title} serves, as {row.served_as}.", highlight=False)


def gated(version: ModelVersion, note: str, override: bool, as_json: bool, path: str) -> int:
    """Promote by the gate, and tell; the exit code: 0 if the version serves now."""
    asked = judged(version, note, override, path)
    if as_json:
        typer.echo(json.dumps(verdict_of(asked), indent=2))
    else:
        _tell(asked)
    return 0 if serves(asked) else 1


def judged(version: ModelVersion, note: str, override: bool, path: str) -> Promotion:
    """Ask the gate, with a bar while it looks at the images."""
    from labelwheel.database import get_database
    from retrain.model.promote import Wish, promote

    with Progress(console=Console(stderr=True), transient=True) as progress:

        def begin(looks: int) -> Any:
            task = progress.add_task("Scoring on the holdout …", total=looks)
            return lambda: progress.advance(task)

        return promote(get_database(), get_settings(), version, Wish(getuser(), note, override, path), begin)


def serves(asked: Promotion) -> bool:
    return asked.deployment is not None and asked.deployment.model_version_id == asked.version.id


def verdict_of(asked: Promotion) -> dict[str, Any]:
    """As JSON: whether it serves, whether that was an override, and the verdict with its numbers; without a verdict nothing was compared."""
    told: dict[str, Any] = {
        "version": asked.version.title,
        "serves": serves(asked),
        "served_as": asked.deployment.served_as if serves(asked) and asked.deployment else None,
        "fresh": asked.fresh,
        "overridden": asked.overridden,
    }
    if asked.judged is None:
        return told | {"verdict": None}
    found = asked.judged.verdict
    numbers = {"reasons": list(asked.told), "numbers": found.numbers, "slices": list(found.slices)}
    return told | {"verdict": "promote" if found.promote else "keep", **numbers}


def _tell(asked: Promotion) -> None:
    if asked.judged is not None:
        for reason in asked.told:
            screen.print(reason, highlight=False, markup=False, soft_wrap=True)
        _show(asked.judged.verdict.slices)
    if serves(asked) and asked.deployment:
        how = "serves, against the gate's verdict" if asked.overridden else "serves now" if asked.fresh else "serves already"
        screen.print(f"[green]✓[/] {asked.version.title} {how}, as {asked.deployment.served_as}.", highlight=False)
    else:
        screen.print(LEAVE.format(asked.version.title), highlight=False, markup=False, soft_wrap=True)


def _show(slices: tuple[dict[str, Any], ...]) -> None:
    if not slices:
        return
    table = Table("class or source", "before", "after", "gain", "standard error", "boxes", "on images")
    for row in slices:
        numbers = [f"{row[name]:.3f}" for name in ("before", "after")] + [f"{row['gain']:+.3f}", f"{row['standard_error']:.3f}"]
        table.add_row(row["slice"], *numbers, str(row["boxes"]), str(row["images"]), style="red" if row["vetoes"] else "")
    screen.print(table)


def _found(version: str) -> ModelVersion:
    from retrain.model.catalogue import find

    found: ModelVersion = with_project(lambda session, project, settings: find(session, project.id, version, settings.model_name))
    return found
