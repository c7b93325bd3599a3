"""The anchor: the model of the highest level that was ever established. What may be lost is counted from it, not from whatever serves.

Each promotion on a slice may cost a little elsewhere. Counted from the champion, a row of them would wear the model down, each within its
budget; counted from the anchor, all of them together have one budget. The anchor moves only to a model that the gate promoted and that was surely
better than the anchor, both scored on one holdout. Overrides, deployments by hand and rollbacks change what serves, and never the anchor.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from labelwheel.database.tables import DEFAULT_TAG, Decision, Deployment, ModelVersion
from labelwheel.vision.label_config import CHAMPION

GATE = "gate"


@dataclass(frozen=True, slots=True)
class Step:
    """One deployment of a champion: which version, and whether its decision says that the gate saw it to be better than the anchor."""

    model_version_id: int
    establishes: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What a challenger has to face. Both are None while nothing ever served."""

    champion: ModelVersion | None = None
    anchor: ModelVersion | None = None


def anchor_of(steps: Iterable[Step]) -> int | None:
    """The model version that is the anchor after these deployments, oldest first: the last that established a level, else the first. Pure."""
    found: int | None = None
    for step in steps:
        if found is None or step.establishes:
            found = step.model_version_id
    return found


def standing(session: Session, project_id: int) -> Standing:
    """Champion and anchor of this moment, from deployments and their decisions."""
    rows = list(session.scalars(_deployments(project_id)))
    decisions = {row.id: row for row in session.scalars(select(Decision).where(Decision.id.in_({row.decision_id for row in rows})))}
    anchor = anchor_of(Step(row.model_version_id, _establishes(row.model_version_id, decisions.get(row.decision_id or 0))) for row in rows)
    versions = {row.model_version_id: row.model_version for row in rows}
    return Standing(rows[-1].model_version, versions[anchor]) if anchor is not None else Standing()


def _deployments(project_id: int) -> Select[Deployment]:
    query = select(Deployment).where(Deployment.project_id == project_id, Deployment.tag == DEFAULT_TAG, Deployment.role == CHAMPION.alias)
    return query.options(joinedload(Deployment.model_version)).order_by(Deployment.id)


def _establishes(model_version_id: int, decision: Decision | None) -> bool:
    """Decisions of releases that knew no anchor asked for more than the champion, so their promotions count."""
    if decision is None or decision.kind != GATE or decision.verdict != "promote":
        return False
    return bool(decision.inputs.get("establishes", True))
