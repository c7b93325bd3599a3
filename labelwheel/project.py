"""Which project the wheel turns for, and the class map that its labels are numbered by."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ClassMap, Project
from labelwheel.errors import InputError, NotFoundError
from labelwheel.settings import Settings
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
    row = session.scalar(select(ClassMap).where(ClassMap.project_id == project_id).order_by(ClassMap.version.desc()).limit(1))
    if row is None:
        raise NotFoundError("The project has no class map.", "Run `labelwheel connect` again.")
    return row


def grow_class_map(session: Session, project_id: int, labels: Sequence[str], label_config: str) -> None:
    """Add what is new of a label config: labels, and tags that boxes are drawn with. Append-only: an id never changes its meaning."""
    newest = session.scalar(select(ClassMap).where(ClassMap.project_id == project_id).order_by(ClassMap.version.desc()).limit(1))
    known, drawn = (list(newest.labels), list(newest.drawn_with or [])) if newest else ([], [])
    grown = known + [label for label in labels if label not in known]
    with suppress(InputError):  # cameras are answered without a label config that we read
        drawn = remember(drawn, parse(label_config))
    if newest is None or (grown, drawn) != (known, newest.drawn_with or []):
        version = newest.version + 1 if newest else 1
        session.add(ClassMap(project_id=project_id, version=version, labels=grown, drawn_with=drawn))
