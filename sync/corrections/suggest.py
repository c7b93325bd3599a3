"""What display thresholds are suggested by: approved labels, stored detections and corrections of the project."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from labelwheel.database.tables import Project
from labelwheel.errors import NotFoundError
from labelwheel.project import current_classes
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.class_view import shown_under
from labelwheel.vision.label_config import ControlTag, parse, trained_labels, trained_tags
from sync.corrections.correct import OUTCOMES
from sync.corrections.counts import standing
from sync.corrections.seconds import Timed, at_work
from sync.corrections.thresholds import Seen, Suggestions, suggest
from sync.doubts.unseen import drawn_under, unseen_labels

MOST_IMAGES = 2000


def suggestions(session: Session, project: Project, settings: Settings) -> dict[str, Any]:
    """Per class: its threshold now and the suggested one, and the seconds that this saves; JSON-ready. NotFoundError without a champion."""
    deployment = newest_deployment(session, project.id)
    if deployment is None:
        raise NotFoundError(
            "No model serves yet: nothing is shown from any threshold on.", "Label the first batch; the first model follows."
        )
    tags, classes = parse(project.label_config), current_classes(session, project.id)
    shown = shown_under(trained_tags(tags), classes)
    rows = unseen_labels(session, project.id, deployment.model_version_id, shown, classes, MOST_IMAGES)
    images = [Seen(drawn_under(label, shown, classes), found) for label, found in rows]
    found = suggest(images, timed(session, project.id), current(tags, settings), _seed(project))
    return {"model_version": deployment.served_as, **as_dict(found)}


def current(tags: Sequence[ControlTag], settings: Settings) -> dict[str, float]:
    """From which confidence each label that we train on is shown now."""
    tag_of = {label: tag for tag in reversed(trained_tags(tags)) for label in tag.labels}
    return {label: tag_of[label].enough(label, settings.display_threshold) for label in trained_labels(tags)}


def timed(session: Session, project_id: int) -> list[Timed]:
    """The annotations whose seconds are known, without those that took so long that nobody was at work."""
    rows = [row for row in standing(session, project_id) if row.seconds is not None]
    counts = [Counter(outcome["outcome"] for outcome in row.outcomes) for row in rows]
    found = [Timed(row.seconds or 0.0, tuple(count[name] for name in OUTCOMES)) for row, count in zip(rows, counts, strict=True)]
    return at_work(found)


def as_dict(found: Suggestions) -> dict[str, Any]:
    return {
        "images": found.images,
        "annotations": found.annotations,
        "seconds_now": found.now.as_dict(),
        "seconds_then": found.then.as_dict(),
        "acts": {name: estimate.as_dict() for name, estimate in found.acts.items()},
        "classes": [{**asdict(one), "saves": one.saves.as_dict()} for one in found.classes],
    }


def _seed(project: Project) -> int:
    return zlib.crc32(project.salt.encode())  # the same data give the same answer
