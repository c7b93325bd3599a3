"""Erase an image everywhere, in an order that may be killed at any line and begun again: first the tombstone, then all that is left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database import Database, get_database
from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Image, Project, TrainingRun
from labelwheel.errors import AlreadyRunning, ConflictError, LabelStudioError
from labelwheel.labelstudio.client import LabelStudio
from labelwheel.project import current_project
from labelwheel.resolver.cache import ImageCache
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from ml_backend.keep import is_named
from retrain.dataset.purge import Purged, purge
from retrain.run.copies import at_rest
from sync.review.erase import Held, Tasks, bury, delete_tasks, find_image, held
from sync.review.reading import reading_of
from sync.review.used import Used, used_image
from sync.selection.forget import forget_image


@dataclass(frozen=True, slots=True)
class Erased:
    """What went, or would go; `held` is what there was before.

    `others_tasks` are tasks that others made and `error` is why some are still there: theirs to mend.
    """

    image: str
    stored: bool
    copied: bool
    tasks: list[int]
    others_tasks: list[int]
    purged: dict[str, Any]
    used: Used
    held: Held
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def erase(settings: Settings, client: LabelStudio, name: str, who: str, why: str) -> Erased:
    """Erase the image that `name` names. Raises NotFoundError, InputError, AlreadyRunning while a training or its control is under way."""
    database = get_database(settings.database_url)
    project, image, used = look(database, settings, name)
    with database.read() as session:
        _refuse_while_training(session, project)
        reading, before = reading_of(session, project, settings), held(session, project.id, image)
    with at_rest(database, settings.home) as controls:
        bury(database, project, reading, image, who, why)
        forget_image(database, image)
        tasks, error = _tasks(database, client, project, image)
        stored = ImageStore(settings.images_dir).discard(image.uri, lambda uri: is_named(database, uri))
        copied = ImageCache(settings.cache_dir / "images", settings.image_cache_bytes).forget(image.sha256)
        purged = purge(settings.home / "datasets", image.sha256, settings.dvc_remote)
        batches = [settings.home / "runs" / str(run_id) / "fit" for run_id in used.runs]  # the trainer's pictures of them
        for folder in (*batches, *controls):  # a control begins anew
            shutil.rmtree(folder, ignore_errors=True)
    return Erased(image.sha256, stored, copied, tasks.ours, tasks.others, asdict(purged), used, before, error)


def look(database: Database, settings: Settings, name: str) -> tuple[Project, Image, Used]:
    """The image that is meant, and what has used it."""
    with database.read() as session:
        project = current_project(session, settings)
        image = find_image(session, project.id, name)
        return project, image, used_image(session, project.id, image.id)


def preview(settings: Settings, name: str) -> Erased:
    """What would go; nothing is asked of Label Studio: the tasks are those that we know of."""
    database = get_database(settings.database_url)
    project, image, used = look(database, settings, name)
    with database.read() as session:
        found = held(session, project.id, image)
    stored = (ImageStore(settings.images_dir).root / image.uri).is_file()
    copied = ImageCache(settings.cache_dir / "images", settings.image_cache_bytes).holds(image.sha256)
    return Erased(image.sha256, stored, copied, found.tasks.ours, found.tasks.others, asdict(Purged(used.datasets)), used, found)


def held_lines(found: Erased) -> Iterator[str]:
    """What holds the image, as a person reads it before it is erased."""
    files = [name for name, there in (("its file", found.stored), ("a copy in the cache", found.copied)) if there]
    yield f"Image {found.image[:12]}: {' and '.join(files) or 'no file is left'}."
    counts = [f"{name.replace('_', ' ')} {number}" for name, number in asdict(found.held).items() if name != "tasks"]
    yield f"In our tables: {', '.join(counts)}."
    ours, others = (", ".join(map(str, tasks)) for tasks in (found.tasks, found.others_tasks))
    yield f"In Label Studio: tasks {ours}, with their annotations." if ours else "In Label Studio: no task of ours that is known."
    if others:
        yield f"Tasks that others made stay, and are theirs to delete: {others}."


def lines(done: Erased) -> Iterator[str]:
    """As a person reads it."""
    yield f"[green]✓[/] Image {done.image[:12]} is erased: {'its file' if done.stored else 'no file was left'}, {len(done.tasks)} tasks."
    files = done.purged
    if files["datasets"]:
        yield f"Taken out of datasets {', '.join(name[:12] for name in files['datasets'])}: {files['files']} files, {files['cached']} of DVC's cache."
    if done.others_tasks:
        yield f"Tasks that others made are theirs to delete: {', '.join(map(str, done.others_tasks))}."
    if done.error:
        yield f"[red]✗[/] {done.error} Run this again."


def _tasks(database: Database, client: LabelStudio, project: Project, image: Image) -> tuple[Tasks, str]:
    try:
        return delete_tasks(database, client, project, image), ""
    except (ConflictError, LabelStudioError) as error:  # the rest shall go all the same
        return Tasks([], []), f"Its tasks are still in Label Studio. {error.message}"


def _refuse_while_training(session: Session, project: Project) -> None:
    active = select(TrainingRun.id).where(TrainingRun.project_id == project.id, TrainingRun.status.in_(ACTIVE_RUN_STATUSES))
    run_id = session.scalar(active)
    if run_id is not None:
        raise AlreadyRunning(f"Training run {run_id} is under way, and may be reading this image.", "Erase it when the run has ended.")
