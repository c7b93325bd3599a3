"""`labelwheel export`: labels as a folder that ultralytics reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from console.screen import AsJson, screen
from labelwheel.errors import InputError
from labelwheel.settings import get_settings
from retrain.dataset.format import Format

Form = Annotated[Format, typer.Option("--format", help="What to write.")]
Beat = Callable[[int], object]


def export(
    out: Annotated[Path, typer.Option(help="Folder that is new or empty, or holds an earlier export, which is replaced.")],
    form: Form = Format.yolo,
    from_json: Annotated[
        Path | None, typer.Option(help="Tasks that any Label Studio exported as JSON, instead of our labels. Nothing needs to run.")
    ] = None,
    label_config: Annotated[Path | None, typer.Option(help="With --from-json: the label config that they were drawn with.")] = None,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Whether to write the images, too.")] = True,
    images_root: Annotated[
        Path | None, typer.Option(help="With --from-json: folder below which the images lie. Default: that of the JSON.")
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            help="With --from-json: data.yaml, manifest.json or classes.txt whose class ids are kept. Default: those of the export in --out, "
            "else the order of the label config."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write labels as a folder that ultralytics reads: images, labels, data.yaml, and manifest.json, which accounts for every task.

    Without --from-json: all approved labels of the connected project. docs/export.md lists the formats and what becomes of what was drawn.

    Examples: labelwheel export --out ./labels --format yolo-obb

    labelwheel export --from-json tasks.json --label-config config.xml --out ./labels --images-root ./photos
    """
    if from_json is None:
        if label_config or images_root or classes:
            raise InputError("--label-config, --images-root and --classes belong to --from-json.", "Leave them out, or name the JSON.")
        export_ours(out, form, images=images, as_json=as_json)
        return
    if label_config is None:
        raise InputError(
            "--from-json needs the label config.",
            "Copy it from the project (Settings, Labeling Interface, Code), and name it with --label-config.",
        )
    from console.from_json import export_tasks

    source, config = from_json, label_config
    _told(
        lambda beat: export_tasks(
            source, config, out, form, get_settings(), images_root=images_root, images=images, classes=classes, beat=beat
        ),
        out,
        as_json,
    )


def export_ours(folder: Path, form: Format, *, images: bool, as_json: bool) -> None:
    """Export the connected project's labels, and say what was written."""
    from console.export import export_folder
    from labelwheel.database import get_database

    _told(lambda beat: export_folder(get_database(), get_settings(), folder, beat, form=form, images=images), folder, as_json)


def _told(act: Callable[[Beat], dict[str, Any]], folder: Path, as_json: bool) -> None:
    from rich.progress import Progress

    with Progress(console=screen, disable=as_json, transient=True) as progress:
        task = progress.add_task("Exporting", total=None)
        counts = act(lambda total: progress.update(task, advance=1, total=total))
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), **counts}, indent=2))
        return
    left_out = f", {counts['excluded']} left out (manifest.json says why)" if counts["excluded"] else ""
    dropped = f", {counts['regions_dropped']} regions dropped" if counts["regions_dropped"] else ""
    images, objects = sum(counts["images"].values()), sum(counts["boxes"].values())
    screen.print(f"[green]✓[/] {images} images, {objects} objects{dropped}{left_out}: {escape(str(folder))}", highlight=False)
    if counts["note"]:
        screen.print(f"[yellow]![/] {counts['note']}", highlight=False)
