"""What a selection may still spend: the budget of the day and of the hour, and how much of it each lane, source and label may take."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import Capture, Decision, QueueItem
from labelwheel.settings import Settings
from labelwheel.shares import OTHERS, read_shares, share_of
from labelwheel.vision.class_map import ClassMap
from sync.selection.rules import Rules

UNCHANGED = ClassMap()
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SELECTION, FIRST_BATCH = "selection", "first_batch"  # kinds of decisions


@dataclass(frozen=True, slots=True)
class Spent:
    """An item that was chosen beside the audits; `label` is the one that it was chosen for."""

    at: datetime
    reason: str
    source: str
    label: str


def rules(settings: Settings, spent: Sequence[Spent], now: datetime, classes: ClassMap = UNCHANGED) -> Rules:
    """The rules of a selection at `now`, where so much was chosen within 24 hours. Pure.

    What the settings say of a class, and what was spent on it, under any name that it had, is under the one that it has today.
    """
    day, left = settings.budget_per_day, settings.budget_per_day - len(spent)
    if settings.budget_per_hour:
        left = min(left, settings.budget_per_hour - sum(item.at > now - HOUR for item in spent))
    reasons = Counter(item.reason for item in spent)
    return Rules(
        budget=max(left, 0),
        uncertainty=settings.uncertainty,
        low=settings.confidence_low,
        high=settings.confidence_high,
        least=settings.uncertainty_min,
        weights=under_today(read_shares(settings.class_weights), classes),
        spread=settings.spread,
        distance=settings.similar_distance,
        drift=max(math.ceil(settings.drift_share * day) - reasons["drift"], 0),
        novelty=max(math.ceil(settings.novelty_share * day) - reasons["novelty"], 0),
        novel_from=settings.novelty_from,
        sources=rooms(read_shares(settings.quota_sources), day, (item.source for item in spent)),
        labels=rooms(
            under_today(read_shares(settings.quota_labels), classes), day, (classes.today(item.label) or item.label for item in spent)
        ),
    )


def under_today(shares: Mapping[str, float], classes: ClassMap) -> dict[str, float]:
    """Shares of labels under today's names. What is said of a class by its name of today goes before what is said by a former one."""
    former = {classes.today(name) or name: share for name, share in shares.items()}
    return {name: shares.get(name, share) for name, share in former.items()}


def first_rules(settings: Settings, spent: Sequence[Spent]) -> Rules:
    """The rules of a first batch, of which so much was chosen already. Pure."""
    size = settings.first_batch
    shares = read_shares(settings.quota_sources)
    return Rules(budget=max(size - len(spent), 0), sources=rooms(shares, size, (item.source for item in spent)))


def rooms(shares: Mapping[str, float], budget: int, taken: Iterable[str]) -> dict[str, int]:
    """How many each name may still take of a budget; names without a share are absent."""
    used = Counter(taken)
    named = {name: share_of(shares, name) for name in {*shares, *used}}
    return {
        name: max(math.ceil(share * budget) - (used[name] if name != OTHERS else 0), 0)
        for name, share in named.items()
        if share is not None
    }


def spent_since(session: Session, project_id: int, kind: str, since: datetime | None = None) -> list[Spent]:
    """What decisions of a kind put into the queue beside audits; what has expired was not spent."""
    query = select(QueueItem.created_at, QueueItem.reason, Capture.source, QueueItem.scores)
    query = query.join(Decision, Decision.id == QueueItem.decision_id).join(Capture, Capture.id == QueueItem.capture_id)
    query = query.where(
        QueueItem.project_id == project_id, Decision.kind == kind, QueueItem.reason != "audit", QueueItem.status != "expired"
    )
    if since is not None:
        query = query.where(QueueItem.created_at > since)
    return [Spent(at, reason, source, str(scores.get("label", ""))) for at, reason, source, scores in session.execute(query).tuples()]
