"""Names in settings that fit nothing here: a misspelt label or source is accepted by no fault of its form, and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Capture, Project
from labelwheel.errors import InputError
from labelwheel.project import current_classes
from labelwheel.settings import PREFIX, Settings
from labelwheel.shares import OTHERS, read_shares
from labelwheel.vision.label_config import parse, trained_labels


def unknown_names(session: Session, project: Project, settings: Settings) -> Iterator[str]:
    """One sentence for each: labels that the label config lacks, and sources from which no image has come."""
    classes = current_classes(session, project.id)
    try:
        labels = trained_labels(parse(project.label_config))
    except InputError:  # said elsewhere
        labels = []
    sources = list(session.scalars(select(Capture.source).where(Capture.project_id == project.id).distinct().order_by(Capture.source)))
    for setting in ("class_weights", "quota_labels"):
        given = [name for name in read_shares(getattr(settings, setting)) if classes.read(name) is None]
        yield from _strangers(setting, given, labels, "label", "the label config has")
    yield from _strangers("quota_sources", read_shares(settings.quota_sources), sources, "source", "images have come from")


def _strangers(setting: str, given: Iterable[str], known: Collection[str], what: str, where: str) -> Iterator[str]:
    for name in given if known else ():
        if name != OTHERS and name not in known:
            yield f"{PREFIX}{setting.upper()} names the {what} {name!r}, which fits nothing: {where} {', '.join(list(known)[:20])}."
