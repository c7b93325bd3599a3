"""Exports: approved labels, or tasks of any Label Studio, as a folder that ultralytics reads; streamed as a zip, or written to disk.

A few images are in hand at a time, so an export of any size takes little more memory than its list. What the folder holds besides is never touched.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from console.writing import into
from labelwheel.database import Database
from labelwheel.errors import ConflictError, InputError
from labelwheel.project import current_class_map, current_project
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.drawing import Canvas
from retrain.dataset import own
from retrain.dataset.content import Plan, everything
from retrain.dataset.folder import BOOKS, File, Folder
from retrain.dataset.format import Format

BEGINNING = (1980, 1, 1, 0, 0, 0)  # of time in zips: equal labels give equal bytes
CHUNK = 2**20
WRITERS, PORTION = 4, 16  # how many write at once, and files that each is given
NOTHING: Mapping[str, Path] = {}


@dataclass(frozen=True)
class Gathered:
    """All that an export of ours is made of: the labels of one moment, and how what was drawn is read (None: their boxes alone)."""

    plan: Plan
    canvas: Canvas | None
    folder: Folder

    @property
    def name(self) -> str:
        """A file name that says what is in it."""
        return f"{'labels' if self.folder.form is Format.yolo else self.folder.form}-{self.plan.content_hash[:12]}"


def gathered(database: Database, settings: Settings, form: Format = Format.yolo, *, images: bool = True) -> Gathered:
    """Every approved label of this moment; ConflictError when there is none, InputError where the label config has nothing for the format."""
    demand_images(form, images)
    with database.read() as session:
        project = current_project(session, settings)
        classes = current_class_map(session, project.id)
        plan = everything(session, project.id, classes)
        config, drawn_with = project.label_config, classes.drawn_with or []
    if not plan.items:
        raise ConflictError("There is no approved label to export.", "Label images first: `labelwheel queue` shows what waits.")
    canvas = None if form is Format.yolo else own.canvas_of(config, drawn_with)  # plain YOLO is what we train on: the label's boxes
    known = ClassMap() if form is Format.cls else plan.class_map
    folder = Folder(form, class_ids(form, canvas, known) if canvas else known, canvas.skeleton if canvas else ())
    folder.told = {"content_hash": plan.content_hash, "holdout": plan.holdout, "retired": sorted(plan.class_map.retired)}
    return Gathered(plan, canvas, folder)


def demand_images(form: Format, images: bool) -> None:
    """InputError for a format that is nothing without images."""
    if form is Format.cls and not images:
        raise InputError("yolo-cls is folders of images: without images nothing is left of it.", "Let the images be exported.")


def class_ids(form: Format, canvas: Canvas, known: ClassMap) -> ClassMap:
    """The class ids of an export: what is known keeps its id, what the label config has besides is appended in its order.

    Raises InputError when the config has nothing for the format.
    """
    labels = canvas.options if form is Format.cls else canvas.labels
    if not labels or (form is Format.pose and not canvas.skeleton):
        needed = {Format.cls: "a Choices tag about the image", Format.pose: "KeyPointLabels beside labels of objects"}
        message = f"The label config has nothing for {form}: it needs {needed.get(form, 'labels to draw with')}."
        raise InputError(message, "Choose another --format.")
    return known.extended(labels)


def files(
    what: Gathered, database: Database, store: ImageStore, *, images: bool = True, there: Mapping[str, Path] = NOTHING
) -> Iterator[File]:
    """Every file of the export, each image with its labels. A lost image is left out, and the manifest, which comes last, says so.

    `there` are images that need not be read from the store, by their names without suffix.
    """
    yield from what.folder.files(own.samples(what.plan, database, store, what.canvas, images=images, there=there))


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
    database: Database,
    settings: Settings,
    folder: Path,
    beat: Callable[[int], object] = lambda total: None,
    *,
    form: Format = Format.yolo,
    images: bool = True,
) -> dict[str, Any]:
    """Write our labels as `folder`, whole or not at all; an earlier export there is replaced. Returns what it holds, counted.

    Images that the earlier one holds are kept: their names are the hashes of their bytes. `beat` is called with the number of images after each.
    Raises as `gathered` does, and InputError where other files are in the way.
    """
    folder = ours(folder)
    what = gathered(database, settings, form, images=images)
    total = len(what.plan.items)
    found = files(what, database, ImageStore(settings.images_dir), images=images, there=_there(folder))
    return written(_as_links(found, folder), what.folder, folder, lambda: beat(total))


def written(found: Iterable[File], made: Folder, folder: Path, beat: Callable[[], object]) -> dict[str, Any]:
    """Write the files beside `folder`, then put them in its place. Returns what they hold, counted. `beat` is called after each sample.

    Raises InputError where they cannot be written, and when no image enters: an earlier export stays as it is.
    """
    draft, seen = folder.with_name(f".{folder.name}.draft"), 0
    shutil.rmtree(draft, ignore_errors=True)
    with into(folder):
        draft.mkdir(parents=True)
        with closing(_put_all(found, draft)) as steps:  # whatever ends it, no thread writes on
            for _ in steps:
                while seen < len(made.entries):
                    seen += 1
                    beat()
        if not any(entry["split"] for entry in made.entries):
            shutil.rmtree(draft, ignore_errors=True)
            raise _nothing(made)
        _replace(draft, folder)
    return {**made.counts(), "note": made.note}


def _nothing(made: Folder) -> InputError:
    if not made.entries:
        return InputError("There is no task to export.", "Export the tasks with their annotations from Label Studio (Export, JSON).")
    message = f"None of the {len(made.entries)} tasks can be exported, and nothing was written. The first: {made.entries[0]['reason']}."
    return InputError(message, "Mend that, and export again; --images-root names the folder of a JSON's images.")


def _put_all(found: Iterable[File], draft: Path) -> Generator[None, None, None]:
    """Write files, several at a time: a disk, above all one in the network, takes longer to make a file than we to know what is in it."""
    rest = iter(found)
    with ThreadPoolExecutor(WRITERS) as pool:
        waiting: deque[Future[None]] = deque()
        while portion := list(islice(rest, PORTION)):
            waiting.append(pool.submit(_put, portion, draft))
            if len(waiting) > WRITERS:
                waiting.popleft().result()
            yield
        for future in waiting:
            future.result()


def _put(files: Sequence[File], draft: Path) -> None:
    for file in files:
        file.put(draft)


def _as_links(found: Iterable[File], folder: Path) -> Iterator[File]:
    """What the earlier export in the folder holds gets a second name, until the folder is replaced."""
    for file in found:
        yield replace(file, linked=True) if isinstance(file.content, Path) and file.content.is_relative_to(folder) else file


def _there(folder: Path) -> dict[str, Path]:
    """Images of an earlier export, by their names without suffix."""
    return {path.stem: path for path in folder.glob("images/*/*") if path.is_file()}


def _replace(draft: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def ours(folder: Path) -> Path:
    """The folder, if an export may be written there. InputError when it holds what no export wrote; ultralytics' caches are nobody's."""
    folder = folder.expanduser().resolve()
    with into(folder):
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
    return folder


def _known(folder: Path) -> set[str]:
    """Names, without suffix, of what an earlier export wrote here; none where there was no export."""
    try:
        entries = json.loads((folder / "manifest.json").read_text())["items"]
        labels = [name.removesuffix(".txt") for entry in entries if (name := entry["labels"])]
        images = [str(Path(name).with_suffix("")) for entry in entries if (name := entry["file"])]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return {"data", "manifest", *BOOKS.values(), *labels, *images}


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
