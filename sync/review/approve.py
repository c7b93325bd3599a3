"""When an annotation counts: the open-source Label Studio has no review stage, so approval is a policy. Pure.

What somebody said of an annotation through our API (approved, rejected, flagged) goes before every policy. What a dataset
brought is approved: whoever imported it said so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

from labelwheel.errors import SettingsError
from labelwheel.vision.detection import LabelledBox
from sync.review.consensus import consensus
from sync.review.states import Revision, State

IMPORT = "import"
MOST_COMPARED = 6  # annotators of one image that are compared; of more the newest
CURE = (
    "Write submit, trusted:anna@plant.example,bert@plant.example, agree:2@0.7, star, choice:review=accepted or explicit; "
    "docs/labels.md says what each means."
)


@dataclass(frozen=True, slots=True)
class Policy:
    """When annotations count. `annotators` is how many people shall annotate each image; the other fields are of their own kind."""

    kind: str = "submit"
    trusted: frozenset[str] = frozenset()
    annotators: int = 1
    iou: float = 0.0
    tag: str = ""
    value: str = ""

    def __str__(self) -> str:
        told = {
            "trusted": ",".join(sorted(self.trusted)),
            "agree": f"{self.annotators}@{self.iou:g}",
            "choice": f"{self.tag}={self.value}",
        }
        return f"{self.kind}:{told[self.kind]}" if self.kind in told else self.kind


@dataclass(frozen=True, slots=True)
class Approval:
    """Since when an annotation counts, and by whom: a person, or the name of the policy."""

    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What one annotator says now of an image."""

    author: str
    boxes: Sequence[LabelledBox]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Which of the drawings agree, by their places, and what they say together."""

    members: tuple[int, ...]
    boxes: list[LabelledBox]


def parse_policy(text: str) -> Policy:
    """A policy as the setting `approval` spells it. SettingsError for what is none."""
    kind, _, rest = text.strip().partition(":")
    try:
        return _PARSERS[kind](rest.strip())
    except (KeyError, ValueError) as error:
        raise SettingsError(f"LABELWHEEL_APPROVAL is {text!r}, which is no approval policy.", CURE) from error


def approval(policy: Policy, state: State) -> Approval | None:
    """Since when and by whom a state of an annotation counts; None while it waits. `agree` is judged by `agreement`."""
    if state.judged is not None:
        return Approval(state.judged.at, state.judged.who) if state.judged.verdict == "approved" else None
    if state.root.imported:
        return Approval(state.root.updated_at, IMPORT)
    return _RULES[policy.kind](policy, state)


def agreement(policy: Policy, drawings: Sequence[Drawing]) -> Agreement | None:
    """The largest group of annotators who agree, if it is large enough; of several the one with the newest. `drawings` are oldest first."""
    newest = {drawing.author.casefold(): place for place, drawing in enumerate(drawings)}
    places = sorted(newest.values())[-MOST_COMPARED:]
    for size in range(len(places), policy.annotators - 1, -1):
        for members in sorted(combinations(places, size), key=lambda group: group[::-1], reverse=True):
            boxes = consensus([drawings[place].boxes for place in members], policy.iou)
            if boxes is not None:
                return Agreement(members, boxes)
    return None


def _on_submit(_: Policy, state: State) -> Approval | None:
    return Approval(state.root.updated_at, "submit")


def _by_trusted(policy: Policy, state: State) -> Approval | None:
    return Approval(state.root.updated_at, state.author) if state.author.casefold() in policy.trusted else None


def _by_star(_: Policy, state: State) -> Approval | None:
    return _since(state, lambda revision: revision.starred)


def _by_choice(policy: Policy, state: State) -> Approval | None:
    return _since(state, lambda revision: policy.value in chosen(revision, policy.tag))


def _not_by_itself(_: Policy, __: State) -> Approval | None:
    return None


def chosen(revision: Revision, tag: str) -> set[str]:
    """What was chosen with a Choices tag."""
    regions = (region for region in revision.result if isinstance(region, Mapping))  # of the API's Label Studio checks none
    values = (region.get("value") for region in regions if region.get("from_name") == tag and region.get("type") == "choices")
    answers = (value.get("choices") for value in values if isinstance(value, Mapping))
    return {str(choice) for answer in answers if isinstance(answer, list) for choice in answer}


def _since(state: State, holds: Callable[[Revision], bool]) -> Approval | None:
    """From the first of the unbroken row of revisions, up to now, for which it holds."""
    found: Revision | None = None
    for revision in reversed(state.revisions):
        if not holds(revision):
            break
        found = revision
    return Approval(found.updated_at, found.annotator) if found else None


def _bare(kind: str) -> Callable[[str], Policy]:
    def parse(rest: str) -> Policy:
        if rest:
            raise ValueError(rest)
        return Policy(kind)

    return parse


def _trusted(rest: str) -> Policy:
    names = frozenset(name.strip().casefold() for name in rest.split(",") if name.strip())
    if not names:
        raise ValueError("nobody is named")
    return Policy("trusted", trusted=names)


def _agree(rest: str) -> Policy:
    count, _, iou = rest.partition("@")
    policy = Policy("agree", annotators=int(count), iou=float(iou or 0.5))
    if not (2 <= policy.annotators <= MOST_COMPARED and 0 < policy.iou <= 1):
        raise ValueError(rest)
    return policy


def _choice(rest: str) -> Policy:
    found = re.fullmatch(r"([^=]+)=(.+)", rest)
    if not found:
        raise ValueError(rest)
    return Policy("choice", tag=found[1].strip(), value=found[2].strip())


_PARSERS: dict[str, Callable[[str], Policy]] = {
    "submit": _bare("submit"),
    "star": _bare("star"),
    "explicit": _bare("explicit"),
    "trusted": _trusted,
    "agree": _agree,
    "choice": _choice,
}
_RULES: dict[str, Callable[[Policy, State], Approval | None]] = {
    "submit": _on_submit,
    "trusted": _by_trusted,
    "star": _by_star,
    "choice": _by_choice,
    "explicit": _not_by_itself,
    "agree": _not_by_itself,
}
