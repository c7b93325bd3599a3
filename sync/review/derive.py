"""Labels out of the mirror: a pure function, so that a rebuild gives equal rows. docs/labels.md lists every rule with its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import Exclusion, from_regions
from labelwheel.vision.label_config import ControlTag
from sync.review.approve import Agreement, Approval, Drawing, Policy, agreement, approval
from sync.review.states import Revision, State, Verdict, because, states

__all__ = ["DerivedLabel", "Outcome", "Revision", "Standing", "Verdict", "derive"]


@dataclass(frozen=True, slots=True)
class DerivedLabel:
    """A label that a state of an annotation gives, known by the state's first revision. `superseded_by` is that of what took its place."""

    revision_id: int
    annotator: str
    annotated_at: datetime
    boxes: list[dict[str, Any]]
    exclusions: list[dict[str, Any]]
    approved_at: datetime | None
    approved_by: str | None
    superseded_by: int | None
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a queue item stands by what was said on its task, who brought it there, and why."""

    status: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All labels of an image, oldest first; where its tasks stand, by key; the keys on which enough people spoke and do not agree."""

    labels: list[DerivedLabel]
    standings: Mapping[str, Standing]
    disputed: frozenset[str]


OPEN = Standing("pushed", "pull", "no annotation stands")


@dataclass(frozen=True, slots=True)
class _Read:
    """A state that is a label: what it says, and whether it counts."""

    state: State
    boxes: list[LabelledBox]
    exclusions: list[Exclusion]
    approval: Approval | None = None
    agrees: bool = False

    @property
    def telling(self) -> bool:
        """False when all that was drawn had to be left out: that is not "nothing there"."""
        return bool(self.boxes) or not self.exclusions


def derive(
    revisions: Sequence[Revision], verdicts: Sequence[Verdict], policy: Policy, tags: Sequence[ControlTag], size: tuple[int, int]
) -> Outcome:
    """What the mirror says of one image of `size` (width, height); the order of the input does not matter."""
    found = states(revisions, verdicts)
    reads = [_read(state, policy, tags, size) for state in found if not state.root.was_cancelled]
    disputed: frozenset[str] = frozenset()
    if policy.kind == "agree":
        reads, disputed = _agreed(policy, reads)
    keys = dict.fromkeys(state.root.key for state in found)
    standings = {key: _standing(key, policy, found, reads, key in disputed) for key in keys}
    return Outcome([_label(read, reads) for read in reads], standings, disputed)


def _read(state: State, policy: Policy, tags: Sequence[ControlTag], size: tuple[int, int]) -> _Read:
    boxes, exclusions = from_regions(state.root.result, tags, *size)
    read = _Read(state, boxes, exclusions)
    return replace(read, approval=approval(policy, state)) if read.telling else read


def _agreed(policy: Policy, reads: list[_Read]) -> tuple[list[_Read], frozenset[str]]:
    """The newest of those who agree speaks for all; where enough people spoke and too few agree, the task is disputed."""
    places = [place for place, read in enumerate(reads) if _speaks(read)]
    found = agreement(policy, [Drawing(reads[place].state.author, reads[place].boxes) for place in places])
    if found is not None:
        return _together(policy, reads, [places[member] for member in found.members], found), frozenset()
    if any(read.approval and not read.state.root.imported and read.state.stands for read in reads):
        return reads, frozenset()  # somebody has decided
    authors: dict[str, set[str]] = {}
    for place in places:
        authors.setdefault(reads[place].state.root.key, set()).add(reads[place].state.author.casefold())
    return reads, frozenset(key for key, names in authors.items() if len(names) >= policy.annotators)


def _speaks(read: _Read) -> bool:
    state = read.state
    return state.current and state.stands and state.judged is None and not state.root.imported and read.telling


def _together(policy: Policy, reads: list[_Read], members: Sequence[int], found: Agreement) -> list[_Read]:
    speaker = members[-1]
    merged = list(reads)
    for place in members:
        merged[place] = replace(reads[place], agrees=True)
    approved = Approval(reads[speaker].state.root.updated_at, str(policy))
    merged[speaker] = replace(merged[speaker], boxes=found.boxes, approval=approved)
    return merged


def _label(read: _Read, reads: Sequence[_Read]) -> DerivedLabel:
    later = (other for other in reads[reads.index(read) + 1 :] if _supersedes(other, read))
    successor = next(later, None)
    return DerivedLabel(
        read.state.root.id,
        read.state.author,
        read.state.root.updated_at,
        [box.as_dict() for box in read.boxes],
        [{"region_id": item.region_id, "reason": item.reason} for item in read.exclusions],
        read.approval.at if read.approval else None,
        read.approval.by if read.approval else None,
        successor.state.root.id if successor else None,
        read.state.withdrawn_at,
    )


def _supersedes(later: _Read, earlier: _Read) -> bool:
    """A later state of the same annotation always does; another annotation, as it stands now, when it counts or the earlier one does not."""
    if later.state.root.unique_id == earlier.state.root.unique_id:
        return later.state.stands
    return later.state.stands and later.state.current and (later.approval is not None or earlier.approval is None)


def _standing(key: str, policy: Policy, found: Sequence[State], reads: Sequence[_Read], disputed: bool) -> Standing:
    current = [state for state in found if state.root.key == key and state.current]
    drawn = [read for read in reads if read.state.root.key == key and read.state.current]
    if not current:
        return OPEN
    if not drawn:
        return Standing("skipped", current[-1].author, "skipped in Label Studio")
    counting = [read for read in drawn if read.state.stands and (read.approval or read.agrees)]
    if counting:
        return _approved(counting[-1], policy)
    newest = next((read for read in reversed(drawn) if read.state.stands), drawn[-1])
    against = _against(newest.state)
    if against:
        return Standing("rejected", against.who, because(against.verdict, against.why))
    if disputed:
        return Standing("rejected", str(policy), "the annotators do not agree")
    return Standing("labeled", newest.state.author, _waits_for(newest, policy))


def _against(state: State) -> Verdict | None:
    rejected = state.judged is not None and state.judged.verdict == "rejected"
    return state.withdrawal or (state.judged if rejected else None)


def _approved(read: _Read, policy: Policy) -> Standing:
    judged = read.state.judged
    if judged:
        return Standing("approved", judged.who, judged.why or "approved")
    who = read.approval.by if read.approval and read.approval.by not in (str(policy), "submit") else read.state.author
    return Standing("approved", who, f"approved by the policy {policy}")


def _waits_for(read: _Read, policy: Policy) -> str:
    if read.state.judged:
        return because("flagged", read.state.judged.why)
    if not read.telling:
        return "nothing of what was drawn can be trained on"
    return f"waits for approval by the policy {policy}"
