"""Selection: look at the pool, let the model look where it has not, choose, and store each choice with its reasons.

The pool may be large, so it is read in portions, of which only what ranks high is kept. Choosing itself is pure (`sync.selection.choose`), and
what it was told is stored with the decision, so that it can be replayed.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel import queue
from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Alert, Decision, Deployment, Image, Project, QueueEvent, QueueItem, utcnow
from labelwheel.errors import LabelwheelError
from labelwheel.lease import hold
from labelwheel.pause import paused
from labelwheel.project import current_classes, current_project
from labelwheel.serving import Served, load, newest_deployment, predict_stored
from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision.class_map import ClassMap
from sync.selection.budget import DAY, FIRST_BATCH, SELECTION, first_rules, rules, spent_since
from sync.selection.candidate import Candidate, Choice, Selection
from sync.selection.choose import choose, choose_first, drawn_by_lot
from sync.selection.known import Neighbours, Space
from sync.selection.pool import Pool, Row
from sync.selection.rank import Ranked, cut, rank
from sync.selection.replay import inputs_of, without_images
from sync.selection.rules import Rules
from sync.selection.similar import Known

log = structlog.get_logger(__name__)

READ_SECONDS = 120  # for the pool; 50,000 captures took 15 to 20 s of CPU on a machine that was busy with other work
LOOKS = 200  # images that one selection lets the model look at; the rest wait for the next


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a selection chose, or would choose, and all that it followed from. `left_out` counts the pool's captures by reason."""

    kind: str
    rules: Rules
    seed: int
    served_as: str | None
    selection: Selection
    left_out: Counter[str]
    candidates: list[Candidate] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Situation:
    """What one selection works with."""

    database: Database
    settings: Settings
    project: Project
    deployment: Deployment | None
    classes: ClassMap
    drifted: frozenset[str]
    rules: Rules

    @property
    def seed(self) -> int:
        return zlib.crc32(self.project.salt.encode())

    @property
    def pool(self) -> Pool:
        row = self.deployment
        since, model = (row.created_at, row.model_version_id) if row else (None, None)
        return Pool(self.database, self.project.id, since, model, self.classes)


def select_captures(database: Database, settings: Settings, now: datetime) -> int:
    """Put what a person shall look at into the queue; return how many items that were."""
    with database.read() as session:
        project = current_project(session, settings)
    with hold(database, f"select:{project.id}", seconds=300) as lease:  # two at once would spend the budget twice
        outlook = look_out(database, settings, now, let_look=True) if lease else None
        added = _store(database, project.id, outlook) if outlook and lease and lease.renew() else 0
    if added:
        log.info("captures selected", chosen=added, left_out=dict(+outlook.left_out) if outlook else {})
        queue.ring("sync.push")
    return added


def look_out(database: Database, settings: Settings, now: datetime, *, let_look: bool) -> Outlook | None:
    """What would be chosen at `now`; None while selection is paused, or a first batch waits for more captures.

    `let_look` lets the model look at some images that it has not seen; without it nothing is written.
    """
    here = _lay(database, settings, now)
    if here is None:
        return None
    if here.deployment is None:
        return _first_batch(here) if _settled(here, now) else None
    return _by_rank(here, here.deployment, let_look)


def free_captures(database: Database, settings: Settings, now: datetime) -> int:
    """How many captures nobody has chosen yet; 0 while selection is paused."""
    here = _lay(database, settings, now)
    return here.pool.size()[0] if here else 0


def _lay(database: Database, settings: Settings, now: datetime) -> Situation | None:
    with database.read() as session:
        project = current_project(session, settings)
        if paused(session, project.id):
            return None
        deployment, classes = newest_deployment(session, project.id), current_classes(session, project.id)
        alerts = select(Alert.source).where(Alert.project_id == project.id, Alert.resolved_at.is_(None))
        drifted = frozenset(session.scalars(alerts))
        if deployment is None:
            told = first_rules(settings, spent_since(session, project.id, FIRST_BATCH))
        else:
            told = rules(settings, spent_since(session, project.id, SELECTION, now - DAY), now, classes)
    return Situation(database, settings, project, deployment, classes, drifted, told)


def _settled(here: Situation, now: datetime) -> bool:
    """A batch can only be diverse over a pool that has arrived: wait while captures still stream in."""
    count, newest = here.pool.size()
    if newest is None:
        return False
    quiet = now - newest >= timedelta(seconds=here.settings.settle_seconds)
    return quiet or count >= 4 * here.settings.first_batch


def _first_batch(here: Situation) -> Outlook:
    pool, kept, counts = here.pool, list[Candidate](), Counter[str]()
    for rows in pool.portions() if here.rules.budget else ():
        kept = drawn_by_lot([*kept, *pool.candidates(rows, here.drifted)], here.seed)
        counts["budget"] += len(rows)
    kept += pool.candidates(pool.audits(), here.drifted)
    selection = choose_first(kept, here.rules, here.seed)
    counts["budget"] -= sum(choice.reason != "audit" for choice in selection.choices)
    return Outlook(FIRST_BATCH, here.rules, here.seed, None, selection, +counts, kept)


def _by_rank(here: Situation, deployment: Deployment, let_look: bool) -> Outlook:
    top, known, counts = _best(here, deployment, let_look) if here.rules.budget else ([], [], Counter[str]())
    candidates = [*here.pool.candidates(here.pool.audits(), here.drifted), *(entry.candidate for entry in top)]
    selection = choose(candidates, here.rules, known, here.seed)
    counts.update(entry.why for entry in selection.left_out)
    return Outlook(SELECTION, here.rules, here.seed, deployment.served_as, selection, counts, candidates, known)


def _best(here: Situation, deployment: Deployment, let_look: bool) -> tuple[list[Ranked], list[Known], Counter[str]]:
    """The top of the pool, what is known that looks like it, and how many captures are not in it for which reason."""
    neighbours = Neighbours(here.pool, here.rules.distance)
    landmarks = neighbours.landmarks(here.seed)
    if let_look:
        _let_look(here, deployment, landmarks)
    space, top, counts = neighbours.space(landmarks), list[Ranked](), Counter[str]()
    for rows in _in_time(here.pool, counts):
        top = _sift(here, here.pool.candidates(rows, here.drifted), top, neighbours, space, counts)
    return top, neighbours.near(entry.candidate for entry in top), counts


def _in_time(pool: Pool, counts: Counter[str]) -> Iterator[list[Row]]:
    """The pool in portions, the newest first; what a machine that has much else to do does not reach in time is counted."""
    began, read = time.monotonic(), 0
    for rows in pool.portions():
        if read and time.monotonic() - began >= READ_SECONDS:
            counts["not_reached"] += pool.size(audits=False)[0] - read
            return
        read += len(rows)
        yield rows


def _sift(
    here: Situation, candidates: Sequence[Candidate], top: list[Ranked], neighbours: Neighbours, space: Space, counts: Counter[str]
) -> list[Ranked]:
    """The top of what was kept and of a portion, without what is like something known; counted is why the others left."""
    fit = rank(space.measure(candidates), here.rules, here.seed)
    counts["not_looked_at"] += sum(candidate.detections is None for candidate in candidates)
    counts["certain"] += sum(candidate.detections is not None for candidate in candidates) - len(fit)
    there, clear = len(top) + len(fit), {entry.candidate.capture_id for entry in top}
    while True:
        best = cut([*top, *fit], here.rules)
        fresh = [entry.candidate for entry in best if entry.candidate.capture_id not in clear]
        twins = neighbours.twins(fresh)
        counts["near_duplicate"] += len(twins)
        there -= len(twins)
        if not twins:
            counts["budget"] += there - len(best)
            return best
        clear |= {candidate.capture_id for candidate in fresh} - twins.keys()
        fit = [entry for entry in fit if entry.candidate.capture_id not in twins]


def _let_look(here: Situation, deployment: Deployment, landmarks: Sequence[int]) -> None:
    """Let the model look at landmarks and at the newest of the pool that it has not seen; a bad image stops nothing."""
    images = _unlooked(here, landmarks)
    if not images:
        return
    served = load(deployment, here.settings)
    with ThreadPoolExecutor(served.detector.lanes) as eyes:
        list(eyes.map(partial(_look, here, served), images))


def _unlooked(here: Situation, landmarks: Sequence[int]) -> list[Image]:
    pool = here.pool
    return [*pool.blind(landmarks, LOOKS // 2), *pool.unlooked(LOOKS // 2)]


def _look(here: Situation, served: Served, image: Image) -> None:
    try:
        predict_stored(here.database, served, image, ImageStore(here.settings.images_dir), here.settings)
    except LabelwheelError as error:
        log.warning("image not looked at", image=image.sha256[:12], error=error.message)


def _store(database: Database, project_id: int, outlook: Outlook) -> int:
    if not outlook.selection.choices:
        return 0
    with database.write() as session:
        there, erased = _still_there(session, outlook)
        rounds = _rounds(session, project_id, outlook.selection.choices)
        choices = [choice for choice in outlook.selection.choices if choice.candidate.image_id in there & rounds.keys()]
        if not choices:
            return 0
        decision = _decision(project_id, choices, outlook)
        decision.inputs = without_images(decision.inputs, erased) if erased else decision.inputs
        session.add(decision)
        session.flush()
        insert_absent(session, QueueItem, [_row(project_id, choice, decision.id, rounds) for choice in choices])
        added = list(session.scalars(select(QueueItem).where(QueueItem.decision_id == decision.id)))
        session.add_all(QueueEvent(queue_item_id=item.id, status="pending", who="selection", why=item.reason) for item in added)
    return len(added)


def _still_there(session: Session, outlook: Outlook) -> tuple[set[int], set[int]]:
    """Images that did not expire since the pool was read, and those that somebody has erased.

    The rows are locked: a retention that judges them now waits, and an erasure that comes now finds the decision.
    """
    ids = {entry.image_id for entry in outlook.candidates} | {entry.image_id for entry in outlook.known}
    stored = select(Image.id, Image.expired_at, Image.erased_at).where(Image.id.in_(ids)).order_by(Image.id).with_for_update()
    rows = session.execute(stored).tuples().all()
    return {image_id for image_id, expired, _ in rows if expired is None}, {image_id for image_id, _, erased in rows if erased is not None}


def _rounds(session: Session, project_id: int, choices: Sequence[Choice]) -> dict[int, int]:
    """The next round of each image; absent are those that came into the queue since the pool was read."""
    ids = [choice.candidate.image_id for choice in choices]
    query = select(QueueItem.image_id, QueueItem.round, QueueItem.status)
    rows = list(session.execute(query.where(QueueItem.project_id == project_id, QueueItem.image_id.in_(ids))).tuples())
    queued = {image_id for image_id, _, status in rows if status != "expired"}
    rounds = {image_id: 1 for image_id in ids if image_id not in queued}
    for image_id, number, _ in rows:
        if image_id in rounds:
            rounds[image_id] = max(rounds[image_id], number + 1)
    return rounds


def _row(project_id: int, choice: Choice, decision_id: int, rounds: dict[int, int]) -> dict[str, Any]:
    now = utcnow()
    return {
        "project_id": project_id,
        "image_id": choice.candidate.image_id,
        "capture_id": choice.candidate.capture_id,
        "round": rounds[choice.candidate.image_id],
        "status": "pending",
        "reason": choice.reason,
        "priority": choice.priority,
        "scores": choice.scores,
        "decision_id": decision_id,
        "created_at": now,
        "updated_at": now,
    }


def _decision(project_id: int, choices: Sequence[Choice], outlook: Outlook) -> Decision:
    by_reason = Counter(choice.reason for choice in choices)
    return Decision(
        project_id=project_id,
        kind=outlook.kind,
        verdict=f"{len(choices)} chosen",
        reasons=list(_reasons(by_reason, outlook.left_out)),
        inputs={
            "model_version": outlook.served_as,
            "left_out": dict(+outlook.left_out),
            **inputs_of(outlook.rules, outlook.seed, outlook.candidates, outlook.known),
        },
    )


def _reasons(chosen: Counter[str], left_out: Counter[str]) -> Iterator[dict[str, str]]:
    for reason, count in sorted(chosen.items()):
        yield {"code": reason, "text": f"{count} captures chosen for {reason}"}
    for why, count in sorted(left_out.items()):
        if count:
            yield {"code": f"left_out:{why}", "text": f"{count} captures left out: {why.replace('_', ' ')}"}
