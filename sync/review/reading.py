"""How annotations are read here and now: with which tags, and by which approval policy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ClassMap, Decision, Project
from labelwheel.settings import Settings
from labelwheel.vision.former_tags import readable
from labelwheel.vision.label_config import ControlTag, parse, trained_tags
from sync.review.approve import Policy, parse_policy

KIND = "reading"


@dataclass(frozen=True, slots=True)
class Reading:
    """The tags of the label config with all that they ever had, and when an annotation counts."""

    tags: Sequence[ControlTag]
    policy: Policy

    @property
    def fingerprint(self) -> str:
        """Equal while the same annotations give the same labels."""
        tags = [[tag.name, tag.value_key, list(tag.labels)] for tag in trained_tags(self.tags)]
        others = sorted({tag.name for tag in self.tags} - {tag.name for tag in trained_tags(self.tags)})
        return hashlib.sha256(json.dumps([str(self.policy), tags, others]).encode()).hexdigest()


def reading_of(session: Session, project: Project, settings: Settings) -> Reading:
    """As project and settings say now. Raises SettingsError for a policy that is none, InputError for an unusable label config."""
    newest = select(ClassMap.drawn_with).where(ClassMap.project_id == project.id).order_by(ClassMap.version.desc()).limit(1)
    return Reading(readable(parse(project.label_config), session.scalar(newest) or []), parse_policy(settings.approval))


def is_applied(session: Session, project_id: int, reading: Reading) -> bool:
    """Whether the labels were derived by this reading."""
    query = select(Decision.inputs).where(Decision.project_id == project_id, Decision.kind == KIND).order_by(Decision.id.desc()).limit(1)
    return (session.scalar(query) or {}).get("fingerprint") == reading.fingerprint


def applied(project_id: int, reading: Reading, images: int) -> Decision:
    """The note that all labels are derived by this reading."""
    labels = [label for tag in trained_tags(reading.tags) for label in tag.labels]
    reasons = [{"code": "reading", "text": f"{images} images read anew by the policy {reading.policy}, labels {', '.join(labels)}"}]
    inputs = {"fingerprint": reading.fingerprint, "policy": str(reading.policy), "labels": labels}
    return Decision(project_id=project_id, kind=KIND, verdict=reading.policy.kind, reasons=reasons, inputs=inputs)
