"""What somebody has paused, and why. No row: it goes on."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from labelwheel.database.insert import insert_new
from labelwheel.database.tables import Pause, utcnow

SELECTION, RETRAINING = "selection", "retraining"


def pause(session: Session, project_id: int, what: str, who: str, why: str) -> bool:
    """Pause it. False when it is paused already: then who and why stay as they were."""
    return insert_new(session, Pause, {"project_id": project_id, "what": what, "who": who, "why": why, "since": utcnow()})


def resume(session: Session, project_id: int, what: str) -> bool:
    """Let it go on. False when it was not paused."""
    mine = delete(Pause).where(Pause.project_id == project_id, Pause.what == what)
    return bool(session.execute(mine).rowcount)  # type: ignore[attr-defined]


def paused(session: Session, project_id: int, what: str = SELECTION) -> Pause | None:
    """Who paused it, when and why; None while it goes on."""
    return session.scalar(select(Pause).where(Pause.project_id == project_id, Pause.what == what))


def told(row: Pause) -> str:
    """A pause in one sentence."""
    return f"{row.what.capitalize()} was paused by {row.who} on {row.since:%Y-%m-%d %H:%M} UTC: {row.why}"
