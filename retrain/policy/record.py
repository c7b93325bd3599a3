"""Decisions kept with what they saw, so that anybody can ask again why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Decision
from retrain.policy.decide import decide
from retrain.policy.state import PolicyRules, PolicyState, Verdict

KIND = "policy"


def record(session: Session, project_id: int, verdict: Verdict, state: PolicyState, rules: PolicyRules, now: datetime) -> Decision:
    """Store a decision with what it saw, unless the newest one says the same of the same: a tick is no news."""
    seen = {**state.as_dict(), "rules": asdict(rules)}
    name = "retrain" if verdict.fire else "wait"
    newest = session.scalar(
        select(Decision).where(Decision.project_id == project_id, Decision.kind == KIND).order_by(Decision.id.desc()).limit(1)
    )
    if newest is not None and (newest.verdict, _timeless(newest.inputs)) == (name, seen):
        return newest
    reasons = [reason.as_dict() for reason in verdict.reasons]
    decision = Decision(project_id=project_id, kind=KIND, verdict=name, reasons=reasons, inputs={**seen, "now": now.isoformat()}, at=now)
    session.add(decision)
    session.flush()
    return decision


def replay(inputs: Mapping[str, Any]) -> Verdict:
    """The verdict that follows from a stored decision's inputs."""
    return decide(PolicyState.from_dict(inputs), PolicyRules(**inputs["rules"]), datetime.fromisoformat(inputs["now"]))


def _timeless(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name != "now"}
