"""Which annotation of a Label Studio task counts: pure. docs/decisions/which-annotation-counts.md says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

Json = Mapping[str, Any]

UNLABELLED = "unlabelled: nobody has annotated it"
NO_LIST = "its annotations are no list"
SKIPPED = "skipped"
REJECTED = "rejected"
LATEST, STARRED, ACCEPTED, ONLY = "latest submitted", "ground truth", "accepted in review", "only one submitted"


class Counting(NamedTuple):
    """The annotation that counts and why, or None and why none does."""

    annotation: Json | None
    reason: str


def counting(task: Json) -> Counting:
    """The annotation of a task that counts.

    Skipped ones never do. Of the others: those with the ground-truth star, else those that a review accepted, else all that no review
    rejected; of these the one that was submitted or edited last, also when it says that nothing is there. Predictions and drafts are no
    annotations.
    """
    given = task.get("annotations") or task.get("completions") or []
    if not isinstance(given, list):
        return Counting(None, NO_LIST)
    all_of_them = [annotation for annotation in given if isinstance(annotation, Mapping)]
    if not all_of_them:
        return Counting(None, UNLABELLED)
    submitted = [one for one in all_of_them if not (one.get("was_cancelled") or one.get("skipped"))]
    if not submitted:
        return Counting(None, SKIPPED)
    if len(submitted) == 1 and not submitted[0].get("reviews"):
        return Counting(submitted[0], STARRED if submitted[0].get("ground_truth") else ONLY)
    return _chosen(submitted)


def _chosen(submitted: Sequence[Json]) -> Counting:
    starred = [one for one in submitted if one.get("ground_truth")]
    accepted = [one for one in submitted if _reviewed(one) is True]
    open_ones = [one for one in submitted if _reviewed(one) is not False]
    some, reason = next(
        ((some, why) for some, why in ((starred, STARRED), (accepted, ACCEPTED), (open_ones, LATEST)) if some), ([], REJECTED)
    )
    return Counting(max(some, key=_moment, default=None), reason)


def _reviewed(annotation: Json) -> bool | None:
    """What the newest review said, where an edition of Label Studio has reviews; None: nothing."""
    given = annotation.get("reviews")
    reviews = [one for one in given if isinstance(one, Mapping) and "accepted" in one] if isinstance(given, list) else []
    return bool(max(reviews, key=_moment)["accepted"]) if reviews else None


def _moment(said: Json) -> tuple[datetime, int]:
    """When it was left as it is; of one moment the higher id is the later."""
    identity = said.get("id")
    return _time(said.get("updated_at") or said.get("created_at")), identity if isinstance(identity, int) else 0


def _time(given: Any) -> datetime:
    try:
        moment = datetime.fromtimestamp(given, UTC) if isinstance(given, int | float) else datetime.fromisoformat(str(given))
    except (ValueError, OverflowError, OSError):
        return datetime.min.replace(tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
