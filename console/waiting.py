"""What is said when `labelwheel queue` has nothing to show: why, and what comes next."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Capture
from sync.queue import ALL, OPEN, WAITING, stats


def why_nothing(session: Session, project_id: int, status: str, reason: str | None, source: str | None) -> str:
    """Why no item of the project fits, as a sentence with its cure."""
    sources = list(session.scalars(select(Capture.source).where(Capture.project_id == project_id).distinct().order_by(Capture.source)))
    if not sources:
        return "No image has arrived yet. Send some: `labelwheel ingest FOLDER --source NAME`."
    if source and source not in sources:
        return f"No image has come from {source!r}. There are: {', '.join(sources[:20])}."
    counts = stats(session, project_id)["by_status"]
    if not counts:
        arrived = session.scalar(select(func.count()).select_from(Capture).where(Capture.project_id == project_id))
        return f"{arrived} images have arrived, and none is chosen yet: `labelwheel select --dry-run` says what becomes of them."
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    if (status, reason, source) == (OPEN, None, None):
        return f"Nothing waits for anybody. In the queue are {told}: `labelwheel queue --all`."
    if status == OPEN and not any(counts.get(name) for name in WAITING):
        return f"Nothing waits for anybody; `--all` also looks among {told}."
    narrow = "" if status == ALL else " (`--all`, or `--status`)"
    return f"No item fits. In the queue are {told}{narrow}."
