"""The order in which captures are chosen: pure. A lane is a reason to choose, with a rank of its own."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from sync.selection.candidate import Candidate
from sync.selection.rules import RANDOM, Rules
from sync.selection.score import most_doubtful, uncertainty

LANES = ("drift", "novelty", "low_confidence")
ROOM = 2  # kept are so many times as many as are looked at: some may turn out to be near-duplicates


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """A candidate that a model has looked at: its uncertainty (0–1), and, where labels have quotas, the one that it would be chosen for."""

    candidate: Candidate
    score: float
    label: str = ""


def rank(candidates: Iterable[Candidate], rules: Rules, seed: int = 0) -> list[Ranked]:
    """Those, but for audits, that a model has looked at and that some lane may take."""
    looked_at = (candidate for candidate in candidates if not candidate.audit and candidate.detections is not None)
    ranked = (Ranked(candidate, _score(candidate, rules, seed)) for candidate in looked_at)
    fit = (entry for entry in ranked if any(standing(entry, lane, rules) is not None for lane in LANES))
    return [replace(entry, label=label_of(entry.candidate, rules)) for entry in fit] if rules.labels else list(fit)


def cut(ranked: Iterable[Ranked], rules: Rules) -> list[Ranked]:
    """The top of each lane, more than a choice needs: cutting the parts of a pool and then their union leaves the same."""
    entries, kept = list(ranked), dict[int, Ranked]()
    for lane in LANES:
        for top in _tops(entries, lane, rules):
            kept.update({entry.candidate.capture_id: entry for entry in top})
    return list(kept.values())


def in_order(ranked: Iterable[Ranked], lane: str, rules: Rules) -> list[Ranked]:
    """What belongs in a lane, first what it takes first."""
    mine = (entry for entry in ranked if standing(entry, lane, rules) is not None)
    return sorted(mine, key=lambda entry: _place(entry, lane, rules), reverse=True)


def standing(entry: Ranked, lane: str, rules: Rules) -> float | None:
    """What it is ranked by in a lane; None where it does not belong."""
    novel = entry.candidate.novelty
    if lane == "drift":
        return entry.score if entry.candidate.drifted else None
    if lane == "novelty":
        return novel if novel is not None and novel >= rules.novel_from else None
    return entry.score if rules.uncertainty == RANDOM or entry.score >= rules.least else None


def label_of(candidate: Candidate, rules: Rules) -> str:
    """The label that it would be chosen for; empty where nothing was found."""
    return most_doubtful(candidate.detections or (), rules.scale)


def lot(seed: int, image_id: int) -> float:
    """A number from 0 to 1 that an image draws."""
    return zlib.crc32(f"{seed}/{image_id}".encode()) / 2**32


def _tops(entries: Sequence[Ranked], lane: str, rules: Rules) -> Iterator[list[Ranked]]:
    """Where there are quotas each source and label has a top of its own: the others may have no room left."""
    groups: dict[tuple[str, str], list[Ranked]] = {}
    for entry in entries:
        if standing(entry, lane, rules) is not None:
            key = entry.candidate.source if rules.sources else "", entry.label if rules.labels else ""
            groups.setdefault(key, []).append(entry)
    for group in groups.values():
        first = group[0]
        room = min(rules.budget, rules.of_lane(lane), rules.of_source(first.candidate.source), rules.of_label(first.label))
        yield heapq.nlargest(ROOM * rules.factor * max(room, 0), group, key=lambda entry: _place(entry, lane, rules))


def _place(entry: Ranked, lane: str, rules: Rules) -> tuple[float, int]:
    # Of equals the newest: what a camera sees now matters more than a backlog.
    return standing(entry, lane, rules) or 0.0, entry.candidate.capture_id


def _score(candidate: Candidate, rules: Rules, seed: int) -> float:
    if rules.uncertainty == RANDOM:
        return lot(seed, candidate.image_id)
    return uncertainty(candidate.detections or (), rules.uncertainty, rules.scale)
