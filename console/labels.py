"""`labelwheel labels`: what people said of images, and what counts of it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from console.screen import AsJson, logs_to_stderr, screen, with_project

app = typer.Typer(help="See labels, derive them anew, take a bad annotator's out.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """See labels, derive them anew, take a bad annotator's out."""
    logs_to_stderr()


@app.command()
def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only look whether anything would change; exit code 1 if so.")] = False,
    as_json: AsJson = False,
) -> None:
    """Derive every label anew from what Label Studio showed, what reviewers said and the approval policy.

    Example: labelwheel labels rebuild --check
    """
    from labelwheel.database import get_database
    from sync.reading import reading_of
    from sync.rebuild import rebuild

    project_id, reading = with_project(lambda session, project, settings: (project.id, reading_of(session, project, settings)))
    done = rebuild(get_database(), project_id, reading, check=check)
    if as_json:
        typer.echo(json.dumps(done.as_dict(), indent=2))
    else:
        changed = "would change" if check else "changed"
        screen.print(f"{done.labels} labels of {done.images} images; of {len(done.differing)} images they {changed}.", highlight=False)
    raise typer.Exit(1 if check and done.differing else 0)
