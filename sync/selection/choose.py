"""Which captures a person shall look at: pure, so that every choice can be replayed from what was stored with it.

Audits are always chosen, beside the budget. The budget is spent in three lanes: captures of sources with an open alert (`drift`) and
captures far from all that is labelled (`novelty`), each up to a number of their own, then by doubt (`low_confidence`). In each lane captures
are ranked; near-duplicates of what is known or ranks higher stand back; of the top, k-means++ takes a batch that is spread out; quotas
bound what a source or a label may take. Nothing depends on the order of the pool. While there is no model, a first batch is spread over the
appearance of the pool.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sync.selection.candidate import Candidate, Choice, LeftOut, Selection, one_per_image
from sync.selection.rank import LANES, Ranked, in_order, label_of, lot, rank, standing
from sync.selection.rules import RANDOM, STRATEGIES, Rules
from sync.selection.score import Found, expected_errors, uncertainty
from sync.selection.similar import Known, Seen
from sync.selection.spread import Matrix, spread

__all__ = ["STRATEGIES", "Candidate", "Choice", "Found", "Known", "LeftOut", "Rules", "Selection", "choose", "choose_first"]

AUDIT_PRIORITY = 1.0  # first: a holdout with holes is biased
URGENT = 0.99  # what others reach at most
MAX_CLUSTERED = 2000  # of a first batch's pool, drawn by lot

Why = Mapping[int, tuple[str, int | None]]


def choose(pool: Sequence[Candidate], rules: Rules, known: Iterable[Known] = (), seed: int = 0) -> Selection:
    """Every audit, and within the budget what else a person shall look at; one choice per image. `known` is queued or labelled already."""
    distinct = one_per_image(pool)
    ranked = rank(distinct, rules, seed)
    draft = _Draft(rules, known, seed)
    for lane in LANES:
        draft.fill(lane, ranked)
    audits = [_audit(candidate, rules) for candidate in distinct if candidate.audit]
    return _selection(pool, distinct, [*audits, *draft.choices], {**draft.left_out, **_unfit(distinct, ranked)})


def choose_first(pool: Sequence[Candidate], rules: Rules, seed: int = 0) -> Selection:
    """Without a model: every audit, and a batch spread over the appearance of the pool."""
    distinct = one_per_image(pool)
    audits = [Choice(candidate, "audit", AUDIT_PRIORITY, _propensity(candidate)) for candidate in distinct if candidate.audit]
    batch = _first(drawn_by_lot(distinct, seed), rules, seed)
    steps = len(batch) + 1
    others = [Choice(candidate, "novelty", round(1 - place / steps, 4), {}) for place, candidate in enumerate(batch, start=1)]
    return _selection(pool, distinct, audits + others, {})


def drawn_by_lot(candidates: Iterable[Candidate], seed: int) -> list[Candidate]:
    """At most 2,000 of those that can be spread and are no audits; drawing from parts of a pool and then from their union draws the same."""
    described = (candidate for candidate in candidates if not candidate.audit and candidate.descriptor is not None)
    return sorted(described, key=lambda candidate: (lot(seed, candidate.image_id), candidate.image_id))[:MAX_CLUSTERED]


def _first(drawn: Sequence[Candidate], rules: Rules, seed: int) -> list[Candidate]:
    vectors = _vectors(drawn)
    order = [] if vectors is None else spread(vectors, 2 * rules.budget, [1.0] * len(drawn), seed)
    taken, batch = Counter[str](), list[Candidate]()
    for candidate in (drawn[index] for index in order):
        if len(batch) < rules.budget and taken[candidate.source] < rules.of_source(candidate.source):
            taken[candidate.source] += 1
            batch.append(candidate)
    return batch


class _Draft:
    """A selection in the making: what was chosen, what is no longer possible, and why."""

    def __init__(self, rules: Rules, known: Iterable[Known], seed: int) -> None:
        self.rules, self.seed = rules, seed
        self.choices: list[Choice] = []
        self.left_out: dict[int, tuple[str, int | None]] = {}
        self._seen, self._admitted = Seen(rules.distance, known), set[int]()
        self._sources, self._labels = Counter[str](), Counter[str]()

    def fill(self, lane: str, ranked: Sequence[Ranked]) -> None:
        """Choose for one reason, in the order that the spread gives to the top of the rank."""
        chosen = {choice.candidate.image_id for choice in self.choices}
        allowance = min(self.rules.of_lane(lane), self.rules.budget - len(self.choices))
        mine = [entry for entry in in_order(ranked, lane, self.rules) if entry.candidate.image_id not in chosen]
        for entry in self._spread(self._shortlist(mine, allowance), lane, allowance):
            if allowance > 0 and not self._is_full(entry):
                allowance -= 1
                self._take(entry, lane)

    def _shortlist(self, mine: Sequence[Ranked], allowance: int) -> list[Ranked]:
        """From the top down what has room and is no twin of something known or higher; some times as many as can be chosen."""
        wanted, kept = self.rules.factor * allowance, list[Ranked]()
        sources, labels = Counter[str](), Counter[str]()
        for entry in mine:
            if len(kept) >= wanted:
                break
            if not self._is_full(entry, sources[entry.candidate.source], labels[entry.label]) and not self._is_twin(entry.candidate):
                sources[entry.candidate.source] += 1
                labels[entry.label] += 1
                kept.append(entry)
        return kept

    def _is_full(self, entry: Ranked, sources: int = 0, labels: int = 0) -> bool:
        """Whether a quota has no room for it. Of a shortlist, in which so many stand before it, a choice is made: it may have more."""
        source, label = entry.candidate.source, entry.label
        if sources // self.rules.factor >= self.rules.of_source(source) - self._sources[source]:
            self.left_out[entry.candidate.image_id] = "source_quota", None
            return True
        if labels // self.rules.factor >= self.rules.of_label(label) - self._labels[label]:
            self.left_out[entry.candidate.image_id] = "label_quota", None
            return True
        return False

    def _is_twin(self, candidate: Candidate) -> bool:
        if candidate.image_id in self._admitted:  # by an earlier lane
            return False
        twin = self._seen.twin(candidate)
        if twin is not None:
            self.left_out[candidate.image_id] = "near_duplicate", twin.image_id
            return True
        self._admitted.add(candidate.image_id)
        self._seen.add(candidate)
        return False

    def _spread(self, shortlist: Sequence[Ranked], lane: str, allowance: int) -> list[Ranked]:
        vectors = _vectors([entry.candidate for entry in shortlist])
        if not self.rules.spread or vectors is None:
            return list(shortlist)
        weights = [standing(entry, lane, self.rules) or 0.0 for entry in shortlist]
        return [shortlist[index] for index in spread(vectors, 2 * allowance, weights, self.seed)]

    def _take(self, entry: Ranked, lane: str) -> None:
        self._sources[entry.candidate.source] += 1
        self._labels[entry.label] += 1
        self.choices.append(Choice(entry.candidate, lane, _priority(entry, lane), _scores(entry.candidate, self.rules, entry.score)))


def _vectors(candidates: Sequence[Candidate]) -> Matrix | None:
    """Embeddings (N, D) where all have one, else descriptors where all have one."""
    for kind in ("embedding", "descriptor"):
        found = [getattr(candidate, kind) for candidate in candidates]
        if found and all(vector is not None for vector in found):
            return np.stack(found)
    return None


def _priority(entry: Ranked, lane: str) -> float:
    novel = entry.candidate.novelty or 0.0
    urgency = {"drift": (1 + entry.score) / 2, "novelty": novel / (1 + novel)}.get(lane, entry.score)
    return round(min(urgency, URGENT), 4)


def _audit(candidate: Candidate, rules: Rules) -> Choice:
    measure = "expected_errors" if rules.uncertainty == RANDOM else rules.uncertainty
    found = candidate.detections
    scores = {} if found is None else _scores(candidate, rules, uncertainty(found, measure, rules.scale))
    return Choice(candidate, "audit", AUDIT_PRIORITY, scores | _propensity(candidate))


def _propensity(candidate: Candidate) -> dict[str, Any]:
    return {} if candidate.propensity is None else {"propensity": candidate.propensity}


def _scores(candidate: Candidate, rules: Rules, score: float) -> dict[str, Any]:
    found = candidate.detections or ()
    told: dict[str, Any] = {
        "uncertainty": round(score, 4),
        "expected_errors": round(expected_errors(found, rules.scale), 4),
        "in_band": sum(rules.scale.holds(item) for item in found),
        "top_confidence": round(max((item.confidence for item in found), default=0.0), 4),
        "label": label_of(candidate, rules),
    }
    return told if candidate.novelty is None else told | {"novelty": round(candidate.novelty, 4)}


def _unfit(distinct: Sequence[Candidate], ranked: Sequence[Ranked]) -> Why:
    fit = {entry.candidate.image_id for entry in ranked}
    others = (candidate for candidate in distinct if candidate.image_id not in fit)
    return {candidate.image_id: ("not_looked_at" if candidate.detections is None else "certain", None) for candidate in others}


def _selection(pool: Sequence[Candidate], distinct: Sequence[Candidate], choices: list[Choice], left: Why) -> Selection:
    """Give every capture that was not chosen its reason: the budget, unless there is another."""
    chosen = {choice.candidate.image_id for choice in choices}
    standing_in = {candidate.capture_id for candidate in distinct}
    others = sorted((candidate for candidate in pool if candidate.capture_id not in standing_in), key=lambda item: -item.capture_id)
    same = [LeftOut(candidate, "same_image", candidate.image_id) for candidate in others]
    rest = [
        LeftOut(candidate, *left.get(candidate.image_id, ("budget", None))) for candidate in distinct if candidate.image_id not in chosen
    ]
    return Selection(choices, rest + same)
