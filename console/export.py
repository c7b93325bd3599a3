"""Approved labels as a folder that ultralytics reads: streamed as a zip, or written to disk. Names are made of hashes.

One image is in hand at a time, so an export of any size takes no more memory than its list. What the folder holds besides is never touched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from labelwheel.database import Database
from labelwheel.errors import ConflictError, DatasetError, InputError
from labelwheel.project import current_class_map, current_project
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from retrain.dataset.content import Excluded, Item, Plan, everything
from retrain.dataset.yolo import FOLDERS, File, image_file, index_files, label_file

BEGINNING = (1980, 1, 1, 0, 0, 0)  # of time in zips: equal labels give equal bytes
CHUNK = 2**20


def gathered(database: Database, settings: Settings) -> Plan:
    """Every approved label of this moment; ConflictError when there is none."""
    with database.read() as session:
        project = current_project(session, settings)
        plan = everything(session, project.id, current_class_map(session, project.id))
    if not plan.items:
        raise ConflictError("There is no approved label to export.", "Label images first: `labelwheel queue` shows what waits.")
    return plan


def files(plan: Plan, store: ImageStore, *, images: bool = True) -> Iterator[File]:
    """Every file of the export, each image with its labels. A lost image is left out, and the manifest, which comes last, says so."""
    kept: list[Item] = []
    lost: list[Excluded] = []
    for item in plan.items:
        try:
            found = [image_file(item, store)] if images else []
        except DatasetError as error:
            lost.append(Excluded(item.label_id, item.sha256, item.task, item.key, error.message))
            continue
        kept.append(item)
        yield from (*found, label_file(item, plan.class_map))
    yield from index_files(replace(plan, items=tuple(kept), excluded=(*plan.excluded, *lost)))


def zipped(found: Iterator[File]) -> Iterator[bytes]:
    """The files as the bytes of a zip, piece by piece."""
    sink = _Sink()
    with ZipFile(sink, "w") as archive:  # type: ignore[call-overload]  # it only writes, and asks no more of a stream
        for file in found:
            with archive.open(_entry(file), "w") as target:
                for piece in _pieces(file):
                    target.write(piece)
                    yield sink.take()
    yield sink.take()


def export_folder(
    database: Database, settings: Settings, folder: Path, beat: Callable[[int], object] = lambda total: None
) -> dict[str, Any]:
    """Write the export as `folder`, whole or not at all; an earlier export there is replaced. Returns the manifest's counts.

    `beat` is called with the number of images after each. Raises ConflictError without labels, InputError where other files are in the way.
    """
    folder = folder.expanduser().resolve()
    _demand_ours(folder)
    plan = gathered(database, settings)
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for file in files(plan, ImageStore(settings.images_dir)):
        file.put(draft)
        if file.name.startswith("labels/"):
            beat(len(plan.items))
    counts: dict[str, Any] = json.loads((draft / "manifest.json").read_text())["counts"]
    _replace(draft, folder)
    return counts


def _replace(draft: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _demand_ours(folder: Path) -> None:
    """Refuse a folder that holds anything that an export did not write; ultralytics' caches are nobody's."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file.", "Name a folder that is not there yet, or is empty.")
    known = _known(folder)
    found = (path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    stranger = next(
        (path for path in found if path.suffix != ".cache" and str(path.relative_to(folder).with_suffix("")) not in known), None
    )
    if stranger:
        raise InputError(
            f"{stranger} was not written by an export.", "Name a folder that is not there yet, is empty, or holds an earlier export."
        )


def _known(folder: Path) -> set[str]:
    """Names, without suffix, of what an earlier export wrote here; none where there was no export."""
    try:
        entries = json.loads((folder / "manifest.json").read_text())["items"]
        names = {
            f"{kind}/{FOLDERS[entry['split']]}/{entry['image']}" for entry in entries if entry["split"] for kind in ("images", "labels")
        }
    except (OSError, ValueError, LookupError, TypeError):
        return set()
    return {"data", "manifest", *names}


def _entry(file: File) -> ZipInfo:
    entry = ZipInfo(file.name, BEGINNING)
    entry.compress_type = ZIP_DEFLATED if isinstance(file.content, bytes) and not file.name.endswith(".png") else ZIP_STORED
    entry.external_attr = 0o644 << 16
    return entry


def _pieces(file: File) -> Iterator[bytes]:
    if isinstance(file.content, bytes):
        yield file.content
        return
    with file.content.open("rb") as stream:
        while piece := stream.read(CHUNK):
            yield piece


class _Sink:
    """Where the archive writes, and what was not taken from there yet."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits elsewhere."""

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken
