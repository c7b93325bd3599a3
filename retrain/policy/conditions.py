"""The verdict of this moment, for whoever asks why nothing is trained."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from labelwheel.database.tables import Project, utcnow
from labelwheel.settings import Settings
from retrain.policy.decide import decide
from retrain.policy.observe import observe
from retrain.policy.state import PolicyRules


def conditions(session: Session, project: Project, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """The verdict as JSON: `should_retrain`, `cause`, `slice`, `told` (a sentence), `reasons` and the `inputs` seen."""
    moment = now or utcnow()
    state = observe(session, project, settings, moment)
    verdict = decide(state, PolicyRules.of(settings), moment)
    return {
        "should_retrain": verdict.fire,
        "cause": verdict.cause,
        "slice": verdict.slice,
        "told": verdict.told(),
        "reasons": [reason.as_dict() for reason in verdict.reasons],
        "inputs": state.as_dict(),
    }
