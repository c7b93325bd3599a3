"""Which project the wheel turns for, and the class map that its labels are numbered by."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ClassMap, Project
from labelwheel.errors import InputError, NotFoundError
from labelwheel.settings import Settings
from labelwheel.vision import class_change, class_map
from labelwheel.vision.class_change import Changed
from labelwheel.vision.former_tags import remember
from labelwheel.vision.label_config import parse


def current_project(session: Session, settings: Settings) -> Project:
    """The connected project. NotFoundError when `connect` has not run yet."""
    query = select(Project).where(Project.ls_url == settings.label_studio_name, Project.title == settings.label_studio_project)
    project = session.scalar(query.order_by(Project.id.desc()).limit(1))
    if project is None:
        raise NotFoundError(
            "No Label Studio project is connected yet.", "Run `labelwheel up`, or `labelwheel connect` for a server of your own."
        )
    return project


def projects(session: Session, settings: Settings) -> dict[int, Project]:
    """Every project of this Label Studio that was ever connected, by Label Studio's id."""
    return {
        project.ls_project_id: project for project in session.scalars(select(Project).where(Project.ls_url == settings.label_studio_name))
    }


def project_numbered(session: Session, settings: Settings, number: int) -> Project | None:
    """The project of this Label Studio that has this id there, if it was ever connected."""
    return session.scalar(select(Project).where(Project.ls_url == settings.label_studio_name, Project.ls_project_id == number))


def remember_project(
    session: Session,
    ls_url: str,
    ls_project_id: int,
    title: str,
    label_config: str,
    labels: Sequence[str],
    created_at: datetime | None = None,
) -> Project:
    """Record a project of Label Studio, or what changed in it; grow its class map by labels that are new.

    `created_at` is when Label Studio made it, which tells it from another one that was given its id later.
    """
    project = session.scalar(select(Project).where(Project.ls_url == ls_url, Project.ls_project_id == ls_project_id))
    if project is None:
        project = Project(ls_url=ls_url, ls_project_id=ls_project_id, salt=secrets.token_hex(16), title=title, label_config=label_config)
        session.add(project)
    project.title, project.label_config = title, label_config
    project.ls_created_at = project.ls_created_at or created_at
    session.flush()
    grow_class_map(session, project.id, labels, label_config)
    return project


def current_class_map(session: Session, project_id: int) -> ClassMap:
    """The newest class map. NotFoundError for a project that was never connected."""
    row = _newest(session, project_id)
    if row is None:
        raise NotFoundError("The project has no class map.", "Run `labelwheel connect` again.")
    return row


def classes_of(session: Session, row: ClassMap) -> class_map.ClassMap:
    """What the names and ids of a class map's version mean, by all changes up to it."""
    earlier = select(ClassMap.changes).where(ClassMap.project_id == row.project_id, ClassMap.version <= row.version)
    changes = session.scalars(earlier.order_by(ClassMap.version))
    return class_map.ClassMap.of(row.labels, [change for some in changes for change in some or []])


def current_classes(session: Session, project_id: int) -> class_map.ClassMap:
    """What the names and ids of classes mean today; an empty map for a project that was never connected."""
    newest = _newest(session, project_id)
    return classes_of(session, newest) if newest else class_map.ClassMap()


def grow_class_map(session: Session, project_id: int, labels: Sequence[str], label_config: str) -> None:
    """Add what is new of a label config: labels, and tags that boxes are drawn with. Append-only: an id never changes its meaning.

    A label that a class had formerly, or of a class that is in use no more, is not new: the config may go on showing it.
    """
    newest, known = _newest(session, project_id), current_classes(session, project_id)
    before = list(newest.drawn_with or []) if newest else []
    grown, drawn = known.extended(labels), before
    with suppress(InputError):  # cameras are answered without a label config that we read
        drawn = remember(before, parse(label_config))
    if newest is None or (grown, drawn) != (known, before):
        changes = class_change.added(known.labels, grown.labels)
        _append(session, project_id, newest, labels=list(grown.labels), drawn_with=drawn, changes=changes)


def change_classes(session: Session, project_id: int, wanted: Callable[[class_map.ClassMap], Changed], who: str, why: str) -> ClassMap:
    """A next version of the class map, changed as a person wants it (see `labelwheel.vision.class_change`). Raises its errors."""
    newest = current_class_map(session, project_id)
    done = wanted(classes_of(session, newest))
    change = {**done.change, "who": who, "why": why}
    return _append(session, project_id, newest, labels=done.labels, drawn_with=newest.drawn_with, changes=[change])


def _newest(session: Session, project_id: int) -> ClassMap | None:
    return session.scalar(select(ClassMap).where(ClassMap.project_id == project_id).order_by(ClassMap.version.desc()).limit(1))


def _append(session: Session, project_id: int, newest: ClassMap | None, **values: object) -> ClassMap:
    row = ClassMap(project_id=project_id, version=newest.version + 1 if newest else 1, **values)
    session.add(row)
    session.flush()
    return row
