"""Labels out of the mirror: a pure function, so that a rebuild from the mirror gives equal rows.

Rules of this thin version: an annotation counts when it was submitted and not skipped; the newest one wins and supersedes
the earlier ones of the same image, and what a person said here supersedes what a dataset brought, whenever that was; a deleted
or later cancelled one is withdrawn; on submit it is approved; an empty one is a label too ("a person looked: nothing there").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from labelwheel.vision.drawn import from_regions
from labelwheel.vision.label_config import ControlTag


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of one annotation, as mirrored. Instants are UTC."""

    id: int
    unique_id: str
    updated_at: datetime
    annotator: str
    was_cancelled: bool
    deleted_at: datetime | None
    result: Sequence[dict[str, Any]]
    imported: bool = False  # it came with a dataset


@dataclass(frozen=True, slots=True)
class Derived:
    """A label that a revision gives. `superseded_by` is the id of the revision whose label took its place."""

    revision_id: int
    annotator: str
    annotated_at: datetime
    boxes: list[dict[str, Any]]
    exclusions: list[dict[str, Any]]
    superseded_by: int | None
    withdrawn_at: datetime | None


def derive(revisions: Sequence[Revision], tags: Sequence[ControlTag], width: int, height: int) -> list[Derived]:
    """Every label that the revisions of one image give, oldest first; order of the input does not matter."""
    ordered = sorted(revisions, key=lambda revision: (not revision.imported, revision.updated_at, revision.id))
    withdrawn = {revision.id: _withdrawn(revision, ordered) for revision in ordered}
    labels = [revision for revision in ordered if not revision.was_cancelled]
    standing = [revision.id for revision in labels if withdrawn[revision.id] is None]
    return [_derived(revision, tags, width, height, _successor(revision, labels, standing), withdrawn[revision.id]) for revision in labels]


def outcome(revisions: Sequence[Revision]) -> str:
    """Where the queue item stands: approved (a submitted annotation stands), skipped, or pushed (nothing stands)."""
    newest: dict[str, Revision] = {}
    for revision in sorted(revisions, key=lambda item: (item.updated_at, item.id)):
        newest[revision.unique_id] = revision
    standing = [revision for revision in newest.values() if revision.deleted_at is None]
    if any(not revision.was_cancelled for revision in standing):
        return "approved"
    return "skipped" if standing else "pushed"


def _withdrawn(revision: Revision, ordered: Sequence[Revision]) -> datetime | None:
    if revision.deleted_at is not None:
        return revision.deleted_at
    newest = [other for other in ordered if other.unique_id == revision.unique_id][-1]
    return newest.updated_at if newest.was_cancelled else None


def _successor(revision: Revision, labels: Sequence[Revision], standing: Sequence[int]) -> int | None:
    later = [other.id for other in labels[labels.index(revision) + 1 :] if other.id in standing]
    return later[0] if later else None


def _derived(
    revision: Revision, tags: Sequence[ControlTag], width: int, height: int, superseded_by: int | None, withdrawn_at: datetime | None
) -> Derived:
    boxes, exclusions = from_regions(revision.result, tags, width, height)
    return Derived(
        revision.id,
        revision.annotator,
        revision.updated_at,
        [box.as_dict() for box in boxes],
        [{"region_id": item.region_id, "reason": item.reason} for item in exclusions],
        superseded_by,
        withdrawn_at,
    )
