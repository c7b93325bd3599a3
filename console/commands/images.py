"""Images: sent through the camera's door, and let go when nobody needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from console.screen import AsJson, logs_to_stderr, screen
from labelwheel.settings import get_settings

app = typer.Typer()

Source = Annotated[str | None, typer.Option(help="Camera or line that the images come from.")]
Prefix = Annotated[str, typer.Option(help="Put before each image's id, where equal names of two folders are different images.")]


@app.command()
def ingest(
    what: Annotated[str, typer.Argument(help="Folder, image, list of images (.txt, or - for standard input), or http(s) address.")],
    source: Source = None,
    prefix: Prefix = "",
    as_json: AsJson = False,
) -> None:
    """Send images through the camera's door. Run it again at will: what arrived already is not sent again.

    Without --source, the sub-folder that an image lies in names it. While the server has no room, it waits and goes on.
    Exit code 1 when an image was refused.

    Example: labelwheel ingest ~/captures --source line-1

    Example: find . -name '*.png' -newer stamp | labelwheel ingest - --source line-1
    """
    from console.send import send

    logs_to_stderr()
    raise typer.Exit(send(get_settings(), what, source, prefix, None if as_json else screen))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="Folder that images are written to; sub-folders too.")],
    source: Source = None,
    prefix: Prefix = "",
    move: Annotated[Path | None, typer.Option(help="Move each image there when its arrival is confirmed.")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete each image when its arrival is confirmed.")] = False,
    quiet: Annotated[float, typer.Option(min=0.1, help="Seconds that a file must keep still before it counts as written.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each image.")] = False,
) -> None:
    """Send every image that is written below a folder, until Ctrl-C. What came while nobody watched is sent at the start.

    Nothing is sent twice. While the server has no room, or is away, it waits and goes on.

    Example: labelwheel watch /data/camera-1 --source line-1 --move /data/sent
    """
    from console.send import follow
    from console.watch import Watched

    logs_to_stderr()
    follow(get_settings(), Watched.of(folder, source, prefix, quiet, move, delete), None if as_json else screen)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let the bytes of images go that nobody needs and that are too old, or too many. The scheduler does it every hour.

    Whatever was queued, audited, labelled or in a dataset stays. Captures, features and predictions are never removed.

    Example: labelwheel retention --dry-run
    """
    from console.retention import lines, run

    report = run(get_settings(), dry_run)
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
        return
    for line in lines(report, dry_run):
        screen.print(line, highlight=False)
