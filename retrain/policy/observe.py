"""Count what the policy needs. Reads only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Alert, Dataset, Label, ModelVersion, Project, TrainingRun
from labelwheel.pause import RETRAINING, paused, told
from labelwheel.project import current_classes
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from retrain.dataset import labels
from retrain.dataset.content import portions, sources_of
from retrain.policy.state import TRAINED_TASK, ClassNews, Drifted, PolicyState, Tried

DAY, WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Fresh:
    """A training label that no weights have seen. `at` is when it came to count."""

    label_id: int
    image_id: int
    at: datetime
    classes: frozenset[str]


def observe(session: Session, project: Project, settings: Settings, now: datetime) -> PolicyState:
    """What `decide` looks at, as it stands in the database at `now`."""
    standing, splits = labels.usable(session, project.id), labels.splits(session, project.id)
    brought, consumed = labels.brought(session, project.id), labels.consumed(session, project.id)
    by_split = Counter(splits.get(image_id, "quarantined") for image_id, label_id in standing.items() if label_id not in brought)
    trainable = {label_id for image_id, label_id in standing.items() if splits.get(image_id) == "train"}
    fresh = list(_fresh(session, trainable - consumed))
    runs = _runs(session, project.id)
    deployment, known = newest_deployment(session, project.id), current_classes(session, project.id)
    champion = deployment.model_version if deployment else None
    pause = paused(session, project.id, RETRAINING)
    return PolicyState(
        champion=champion.title if champion else None,
        active_run=next((run.id for run in runs if run.status in ACTIVE_RUN_STATUSES), None),
        train_labels=by_split["train"],
        holdout_labels=by_split["holdout"],
        new_labels=len(fresh),
        finished_runs=sum(run.status in labels.FINISHED for run in runs),
        last_ended=max((run.finished_at for run in runs if run.finished_at), default=None),
        task=champion.task if champion else TRAINED_TASK,
        known_labels=len(trainable & consumed),
        trained_at=_trained_at(champion, runs),
        label_at=max((one.at for one in fresh), default=None),
        burst_at=burst_start([one.at for one in fresh], settings.label_quiet_seconds),
        classes=_classes(session, known, fresh, champion, runs),
        drifted=tuple(_drifted(session, project.id, fresh)),
        tried=tuple(_tried(runs, fingerprint(trainable), known)),
        spent_day=_spent(runs, now - DAY),
        spent_week=_spent(runs, now - WEEK),
        utc_offset=_utc_offset(settings, now),
        paused=told(pause) if pause else None,
    )


def label_set(session: Session, project_id: int) -> str:
    """The name of the training labels that stand now: equal names, equal labels."""
    standing, splits = labels.usable(session, project_id), labels.splits(session, project_id)
    return fingerprint(label_id for image_id, label_id in standing.items() if splits.get(image_id) == "train")


def fingerprint(ids: Iterable[int]) -> str:
    return hashlib.sha256(",".join(map(str, sorted(ids))).encode()).hexdigest()[:16]


def burst_start(moments: Sequence[datetime], quiet_seconds: int) -> datetime | None:
    """The first of the newest row of moments in which none lies `quiet_seconds` or more behind the one before. Pure."""
    backwards = sorted(moments, reverse=True)
    start = backwards[0] if backwards else None
    for later, earlier in pairwise(backwards):
        if later - earlier >= timedelta(seconds=quiet_seconds):
            break
        start = earlier
    return start


def _fresh(session: Session, ids: Iterable[int]) -> Iterator[Fresh]:
    columns = (Label.id, Label.image_id, Label.created_at, Label.approved_at, Label.boxes)
    for some in portions(sorted(ids)):
        for label_id, image_id, created_at, approved_at, boxes in session.execute(select(*columns).where(Label.id.in_(some))).tuples():
            # Approval may come later; and what is pulled late carries an old approval.
            at = max(created_at, approved_at or created_at)
            yield Fresh(label_id, image_id, at, frozenset(str(box["label"]) for box in boxes))


def _runs(session: Session, project_id: int) -> list[TrainingRun]:
    return list(session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id)))


def _trained_at(champion: ModelVersion | None, runs: Sequence[TrainingRun]) -> datetime | None:
    """When the champion was made, or when it last stood against a challenger."""
    if champion is None:
        return None
    ends = [run.finished_at for run in runs if run.status in labels.FINISHED and run.finished_at]
    return max([champion.created_at, *ends])


def _classes(
    session: Session, known: ClassMap, fresh: Sequence[Fresh], champion: ModelVersion | None, runs: Sequence[TrainingRun]
) -> dict[str, ClassNews]:
    counts = Counter(name for one in fresh for name in {known.read(each) for each in one.classes})
    precision = under_today(_precision(champion, runs), known)
    trained = {known.read(name) for name in _trained_classes(session, runs)}
    return {name: ClassNews(counts[name], precision.get(name), name in trained) for name in known.active}


def under_today(precision: Mapping[str, float | None], known: ClassMap) -> dict[str, float | None]:
    """AP50 by today's names. Of classes that became one it is the lowest: what one of them lacks, the whole lacks. Pure."""
    found: dict[str, float | None] = {}
    for former, value in precision.items():
        name = known.read(former)
        if name is not None and value is not None:
            held = found.get(name)
            found[name] = value if held is None else min(held, value)
    return found


def _precision(champion: ModelVersion | None, runs: Sequence[TrainingRun]) -> Mapping[str, float | None]:
    """AP50 by class of the champion on the newest holdout that it was scored on."""
    for run in reversed(runs):
        if champion is not None and (run.metrics or {}).get("judged_on", "holdout") == "holdout":
            role = {run.challenger_id: "challenger", run.champion_id: "champion"}.get(champion.id)
            scores: Mapping[str, Any] = (run.metrics.get(role) if role else None) or {}
            if scores.get("per_class"):
                return dict(scores["per_class"])
    return {}


def _trained_classes(session: Session, runs: Sequence[TrainingRun]) -> set[str]:
    """Classes with boxes in the dataset of a finished run."""
    ids = [run.dataset_id for run in runs if run.status in labels.FINISHED and run.dataset_id]
    found: set[str] = set()
    for some in portions(ids):
        for counts in session.scalars(select(Dataset.counts).where(Dataset.id.in_(some))):
            found |= {str(name) for name, count in counts.get("boxes", {}).items() if count}
    return found


def _drifted(session: Session, project_id: int, fresh: Sequence[Fresh]) -> Iterator[Drifted]:
    """Sources with an open alert; where several features of one have, the earliest counts."""
    query = select(Alert.source, Alert.raised_at).where(Alert.project_id == project_id, Alert.resolved_at.is_(None))
    raised: dict[str, datetime] = {}
    for source, at in session.execute(query).tuples():
        raised[source] = min(raised.get(source, at), at)
    if raised:
        sources = sources_of(session, sorted(one.image_id for one in fresh))
        for source, since in sorted(raised.items()):
            yield Drifted(source, sum(sources.get(one.image_id) == source and one.at >= since for one in fresh), since)


def _tried(runs: Sequence[TrainingRun], now: str, known: ClassMap) -> Iterator[Tried]:
    for run in runs:
        if run.status not in ACTIVE_RUN_STATUSES and (run.metrics or {}).get("label_set") == now:
            part = run.slice
            yield Tried(run.id, run.cause, {"class": known.named(part["class"])} if part and "class" in part else part, run.status)


def _spent(runs: Sequence[TrainingRun], since: datetime) -> int:
    return round(sum(cost(run) for run in runs if (run.finished_at or run.heartbeat_at or run.created_at) >= since))


def cost(run: TrainingRun) -> float:
    """Seconds that a run and its control have trained; of one without a result, those from its start to its last sign of life."""
    seconds = ((run.metrics or {}).get("training") or {}).get("seconds")
    if seconds is None:
        seconds = (run.heartbeat_at - run.created_at).total_seconds() if run.heartbeat_at else 0.0
    return float(seconds) + float((run.control or {}).get("seconds") or 0.0)


def _utc_offset(settings: Settings, now: datetime) -> int:
    """Of the local clock, in seconds."""
    local = now.astimezone(ZoneInfo(settings.time_zone) if settings.time_zone else None)
    offset = local.utcoffset()
    return int(offset.total_seconds()) if offset else 0
