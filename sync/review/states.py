"""The states that an annotation went through, out of the revisions in which it was seen and of what was said of them: pure.

Revisions in a row that say the same are one state: a star or an "Update" that changes nothing makes no new label, keeps its
author, and keeps what was said of it. Every change makes a new state, of whoever made it, on which no earlier verdict binds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

JUDGED = ("approved", "rejected", "flagged")
WITHDRAWAL = ("withdrawn", "reinstated")


@dataclass(frozen=True, slots=True)
class Revision:
    """One sight of one annotation, as mirrored. Instants are UTC; `annotator` is who left it so, `key` is our task's."""

    id: int
    unique_id: str
    updated_at: datetime
    annotator: str
    was_cancelled: bool
    deleted_at: datetime | None
    result: Sequence[dict[str, Any]]
    imported: bool = False  # it came with a dataset
    key: str = ""
    starred: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """What somebody said of an annotation as it stood at `annotation_updated_at`; a later one (by `id`) goes before an earlier one."""

    id: int
    unique_id: str
    annotation_updated_at: datetime
    verdict: str
    who: str
    why: str
    at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """An annotation between two changes. `current`: so it stands now. `withdrawn_at`: since when what it says does not count."""

    revisions: tuple[Revision, ...]
    author: str
    judged: Verdict | None
    withdrawal: Verdict | None
    current: bool = False
    withdrawn_at: datetime | None = None

    @property
    def root(self) -> Revision:
        """The first revision that said so: its label is the state's."""
        return self.revisions[0]

    @property
    def last(self) -> Revision:
        return self.revisions[-1]

    @property
    def stands(self) -> bool:
        return self.withdrawn_at is None


def because(act: str, why: str) -> str:
    """What was done, and why if that was said."""
    return f"{act}: {why}" if why else act


def states(revisions: Iterable[Revision], verdicts: Sequence[Verdict]) -> list[State]:
    """Every state of every annotation, in the order in which they begin: what datasets brought first, for people outrank it."""
    ordered = sorted(revisions, key=_order)
    found: list[State] = []
    for unique_id in dict.fromkeys(revision.unique_id for revision in ordered):
        mine = [verdict for verdict in verdicts if verdict.unique_id == unique_id]
        found += _of_one([revision for revision in ordered if revision.unique_id == unique_id], mine)
    return sorted(found, key=lambda state: _order(state.root))


def _order(revision: Revision) -> tuple[bool, datetime, int]:
    return not revision.imported, revision.updated_at, revision.id


def _of_one(revisions: Sequence[Revision], verdicts: Sequence[Verdict]) -> list[State]:
    runs = [tuple(run) for _, run in groupby(revisions, key=_Content)]
    bare = [_state(run, verdicts) for run in runs]
    current = next((state for state in reversed(bare) if state.root.deleted_at is None), None)
    return [
        State(state.revisions, state.author, state.judged, state.withdrawal, state is current, _withdrawn(state, current)) for state in bare
    ]


class _Content:
    """What a revision says; equal neighbours are one state."""

    def __init__(self, revision: Revision) -> None:
        again = revision.id if revision.imported else None  # a dataset adds a revision only where it says something else
        self._said = revision.was_cancelled, revision.deleted_at is None, list(revision.result), again

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self._said == other._said

    __hash__ = None  # type: ignore[assignment]


def _state(run: tuple[Revision, ...], verdicts: Sequence[Verdict]) -> State:
    seen = {revision.updated_at for revision in run}
    bound = sorted((verdict for verdict in verdicts if verdict.annotation_updated_at in seen), key=lambda verdict: verdict.id)
    told = _last(bound, ("submitted",))
    withdrawal = _last(bound, WITHDRAWAL)
    return State(
        run,
        told.who if told else run[0].annotator,
        _last(bound, JUDGED),
        withdrawal if withdrawal and withdrawal.verdict == "withdrawn" else None,
    )


def _last(verdicts: Sequence[Verdict], kinds: Sequence[str]) -> Verdict | None:
    return next((verdict for verdict in reversed(verdicts) if verdict.verdict in kinds), None)


def _withdrawn(state: State, current: State | None) -> datetime | None:
    """Deleted; or the annotation was skipped later; or somebody withdrew it. What it once said never stands again behind its back."""
    if state.root.deleted_at is not None:
        return state.root.deleted_at
    if current is not None and current.root.was_cancelled:
        return current.root.updated_at
    withdrawal = state.withdrawal or (current.withdrawal if current else None)
    return withdrawal.at if withdrawal else None
