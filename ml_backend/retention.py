"""Retention: which images' bytes go, and how they go. Rows stay: a capture, its features and its predictions are never removed.

What a person may still need is never chosen: whatever was queued, audited, labelled or in a dataset. Of the rest go the old ones,
then the oldest until the store is below its bound. First the rows say so, then the files go; a file that no row names goes too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Select, Subquery, func, or_, select, update
from sqlalchemy.orm import Session

from labelwheel.database import Database
from labelwheel.database.tables import Capture, DatasetItem, Decision, Image, Label, Project, QueueItem, utcnow
from labelwheel.settings import Settings
from labelwheel.storage import SHARDS, ImageStore, StoredFile
from ml_backend.keep import is_named
from ml_backend.pressure import STORED

log = structlog.get_logger(__name__)

YOUNG = timedelta(hours=1)  # a selection must have had its chance, and a request under way its row
ROOM = 0.9  # share of the bound that is filled after a retention, so that it is not due again at once
PORTION = 500

# Images that somebody may still need, and why. A queue item is `expired` when people deleted its task.
NEEDS: dict[str, Select[int]] = {
    "queued": select(QueueItem.image_id).where(QueueItem.status != "expired"),
    "audited": select(Capture.image_id).where(Capture.audit),
    "labelled": select(Label.image_id),
    "in a dataset": select(DatasetItem.image_id),
}


@dataclass(frozen=True, slots=True)
class Held:
    """An image whose bytes are stored. `seen_at` is its newest arrival; `needed_for` says what forbids to remove it."""

    image_id: int
    project_id: int
    uri: str
    size: int
    seen_at: datetime
    needed_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """After how many days, and from how many bytes on. 0: never."""

    days: int
    max_bytes: int

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        return cls(settings.retention_days, settings.store_max_bytes)


@dataclass(frozen=True, slots=True)
class Expiry:
    """An image that is to go, because of its `age` or because of the store's `size`."""

    held: Held
    cause: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a retention did, or would do. Bytes are those of files; `lost` are files that are gone without having expired."""

    images: int
    bytes: int
    needed: dict[str, int]
    expired: dict[str, int]
    expired_bytes: int
    orphans: int
    orphan_bytes: int
    lost: list[str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(oldest_first: Iterable[Held], total: int, rules: Rules, now: datetime) -> list[Expiry]:
    """What is to go of images that stand in the order of `seen_at`; `total` is the bytes of all. Pure.

    Nothing that is needed, nothing younger than an hour.
    """
    goal = rules.max_bytes * ROOM if rules.max_bytes else total
    chosen, left = [], total
    for held in oldest_first:
        age = now - held.seen_at
        aged = bool(rules.days) and age >= timedelta(days=rules.days)
        if not aged and left <= goal:
            break  # those that follow are younger still
        if not held.needed_for and age >= YOUNG:
            chosen.append(Expiry(held, "age" if aged else "size"))
            left -= held.size
    return chosen


def retain(database: Database, settings: Settings, now: datetime, *, dry_run: bool = False) -> Report:
    """Let go what `choose` names, remove files that no row names, count what is lost. `dry_run` only says so."""
    store = ImageStore(settings.images_dir)
    with database.read() as session:
        before = _totals(session)
        chosen = choose(held(session), before["bytes"], Rules.of(settings), now)
    if not dry_run:
        store.settle_discards(lambda uri: is_named(database, uri))
        chosen = [gone for portion in _portions(chosen) for gone in _expire(database, portion, now, settings)]
        for gone in chosen:
            store.discard(gone.held.uri, lambda uri: is_named(database, uri))
    orphans = [file for file in unnamed(database, store) if _is_old(file)]
    if not dry_run:
        orphans = [file for file in orphans if store.discard(file.uri, lambda uri: is_named(database, uri))]
    report = _report(before, chosen, orphans, lost(database, store))
    if not dry_run and (chosen or orphans or report.lost):
        log.info("retention", **{**report.as_dict(), "lost": len(report.lost)})
    return report


def held(session: Session) -> Iterator[Held]:
    """Every image whose bytes are stored, the longest unseen first."""
    seen = _seen()
    columns = (Image.id, Image.project_id, Image.uri, Image.size, seen.c.seen_at, *(Image.id.in_(ids) for ids in NEEDS.values()))
    query = select(*columns).join(seen, seen.c.image_id == Image.id).where(Image.expired_at.is_(None))
    query = query.order_by(seen.c.seen_at, Image.id).execution_options(yield_per=PORTION)
    for image_id, project_id, uri, size, at, *needs in session.execute(query):
        yield Held(image_id, project_id, uri, size, at, tuple(why for why, needed in zip(NEEDS, needs, strict=True) if needed))


def unnamed(database: Database, store: ImageStore) -> Iterator[StoredFile]:
    """Files that no row names: left by a crash between file and row, or between row and file."""
    for shard in SHARDS:
        files = list(store.files(shard))  # before the rows: a file that comes meanwhile is not in it
        with database.read() as session:
            named = set(session.scalars(_named(shard))) if files else set()
        yield from (file for file in files if file.uri not in named)


def lost(database: Database, store: ImageStore) -> list[str]:
    """Uris that rows name, that did not expire, and that are not there."""
    with database.read() as session:
        named = list(session.scalars(select(Image.uri).where(*STORED).distinct()))
    there = {file.uri for shard in SHARDS for file in store.files(shard)}
    return sorted(uri for uri in named if uri not in there and not (store.root / uri).is_file())


def _expire(database: Database, portion: Sequence[Expiry], now: datetime, settings: Settings) -> list[Expiry]:
    """Write down which of them go: those that nobody came to need since they were chosen."""
    ids = [expiry.held.image_id for expiry in portion]
    with database.write() as session:
        # A selection or an arrival that is under way for one of them ends first; the next statement sees what it wrote.
        session.execute(select(Image.id).where(Image.id.in_(ids)).order_by(Image.id).with_for_update())
        free = set(session.scalars(select(Image.id).where(Image.id.in_(ids), Image.expired_at.is_(None), ~_needed(now))))
        gone = [expiry for expiry in portion if expiry.held.image_id in free]
        session.execute(update(Image).where(Image.id.in_(free)).values(expired_at=now))
        session.add_all(_decisions(gone, settings))
    return gone


def _needed(now: datetime) -> ColumnElement[bool]:
    young = select(Capture.image_id).where(Capture.received_at > now - YOUNG)
    return or_(*(Image.id.in_(ids) for ids in (*NEEDS.values(), young)))


def _decisions(gone: Sequence[Expiry], settings: Settings) -> Iterator[Decision]:
    for project_id in sorted({expiry.held.project_id for expiry in gone}):
        mine = [expiry for expiry in gone if expiry.held.project_id == project_id]
        reasons = [{"code": cause, "text": f"{count} images expired by {cause}"} for cause, count in _causes(mine).items()]
        inputs = {"rules": asdict(Rules.of(settings)), "bytes": sum(expiry.held.size for expiry in mine)}
        yield Decision(project_id=project_id, kind="retention", verdict=f"{len(mine)} expired", reasons=reasons, inputs=inputs)


def _causes(expiries: Iterable[Expiry]) -> dict[str, int]:
    causes = [expiry.cause for expiry in expiries]
    return {cause: causes.count(cause) for cause in ("age", "size")}


def _totals(session: Session) -> dict[str, Any]:
    count, size = session.execute(select(func.count(), func.coalesce(func.sum(Image.size), 0)).where(*STORED)).one()
    needed = {why: session.scalar(select(func.count()).where(*STORED, Image.id.in_(ids))) or 0 for why, ids in NEEDS.items()}
    return {"images": count, "bytes": int(size), "needed": needed}


def _report(before: dict[str, Any], gone: Sequence[Expiry], orphans: Sequence[StoredFile], missing: list[str]) -> Report:
    return Report(
        **before,
        expired=_causes(gone),
        expired_bytes=sum(expiry.held.size for expiry in gone),
        orphans=len(orphans),
        orphan_bytes=sum(file.size for file in orphans),
        lost=missing,
    )


def _seen() -> Subquery:
    return select(Capture.image_id, func.max(Capture.received_at).label("seen_at")).group_by(Capture.image_id).subquery()


def _named(shard: str) -> Select[str]:
    """Uris of one shard, by the key (project, SHA-256), which has an index."""
    mine = (Image.project_id.in_(select(Project.id)), Image.sha256 >= shard, Image.sha256 < shard + "g")
    return select(Image.uri).where(*mine, Image.expired_at.is_(None))


def _is_old(file: StoredFile) -> bool:
    """By the clock that the file's own time was taken from: somebody may still be writing a young one."""
    return datetime.fromtimestamp(file.put_at, UTC) < utcnow() - YOUNG


def _portions(chosen: Sequence[Expiry]) -> Iterator[Sequence[Expiry]]:
    return (chosen[start : start + PORTION] for start in range(0, len(chosen), PORTION))
