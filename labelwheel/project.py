"""Which project the wheel turns for, and the class map that its labels are numbered by."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ClassMap, Project
from labelwheel.errors import NotFoundError
from labelwheel.settings import Settings


def current_project(session: Session, settings: Settings) -> Project:
    """The connected project. NotFoundError when `connect` has not run yet."""
    query = select(Project).where(Project.ls_url == settings.label_studio_name, Project.title == settings.label_studio_project)
    project = session.scalar(query.order_by(Project.id.desc()).limit(1))
    if project is None:
        raise NotFoundError(
            "No Label Studio project is connected yet.", "Run `labelwheel up`, or `labelwheel connect` for a server of your own."
        )
    return project


def remember_project(session: Session, ls_url: str, ls_project_id: int, title: str, label_config: str, labels: Sequence[str]) -> Project:
    """Record a project of Label Studio, or what changed in it; grow its class map by labels that are new."""
    project = session.scalar(select(Project).where(Project.ls_url == ls_url, Project.ls_project_id == ls_project_id))
    if project is None:
        project = Project(ls_url=ls_url, ls_project_id=ls_project_id, salt=secrets.token_hex(16), title=title, label_config=label_config)
        session.add(project)
    project.title, project.label_config = title, label_config
    session.flush()
    _grow_class_map(session, project.id, labels)
    return project


def current_class_map(session: Session, project_id: int) -> ClassMap:
    """The newest class map. NotFoundError for a project that was never connected."""
    row = session.scalar(select(ClassMap).where(ClassMap.project_id == project_id).order_by(ClassMap.version.desc()).limit(1))
    if row is None:
        raise NotFoundError("The project has no class map.", "Run `labelwheel connect` again.")
    return row


def _grow_class_map(session: Session, project_id: int, labels: Sequence[str]) -> None:
    newest = session.scalar(select(ClassMap).where(ClassMap.project_id == project_id).order_by(ClassMap.version.desc()).limit(1))
    known = list(newest.labels) if newest else []
    grown = known + [label for label in labels if label not in known]  # append-only: an id never changes its meaning
    if newest is None or grown != known:
        session.add(ClassMap(project_id=project_id, version=newest.version + 1 if newest else 1, labels=grown))
