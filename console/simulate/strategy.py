"""How images are chosen: by lot, or by the very code that selects in production (`sync.selection.choose`). Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

import numpy as np

from console.simulate.step import Seen
from console.simulate.stock import Photo
from labelwheel.settings import Settings
from sync.selection.budget import rules
from sync.selection.choose import Candidate, Known, Rules, choose
from sync.selection.known import Space
from sync.selection.score import Found
from sync.selection.similar import Vector

Look = Mapping[str, Seen]
NEVER = datetime.min.replace(tzinfo=UTC)  # no budget was spent before


@dataclass(frozen=True)
class Moment:
    """What a choice may know: what is left in the pool, what is labelled, and what the newest model sees on either, by their keys."""

    pool: Sequence[Photo]
    labelled: Sequence[Photo]
    seen: Look
    budget: int
    seed: int
    settings: Settings


@dataclass(frozen=True)
class Strategy:
    """`pick` names what is labelled next, at most the budget; `looks` says whether a model must have seen the pool for it."""

    name: str
    meaning: str
    looks: bool
    pick: Callable[[Moment], list[Photo]] = field(repr=False)


def by_lot(moment: Moment) -> list[Photo]:
    """The budget, or all of a smaller pool."""
    return _drawn(moment.pool, moment.budget, moment.seed)


def by_rules(rules_of: Callable[[Moment], Rules], moment: Moment) -> list[Photo]:
    """The choice of the production. What its rules leave of the budget is filled by lot, so that all strategies spend alike."""
    pool = dict(enumerate(moment.pool))
    selection = choose(_candidates(moment), rules_of(moment), _known(moment), moment.seed)
    chosen = [pool.pop(choice.candidate.image_id) for choice in selection.choices]
    return chosen + _drawn(list(pool.values()), moment.budget - len(chosen), moment.seed)


def whole(moment: Moment) -> Rules:
    """The rules of the production, with all their parts, of a day with this budget."""
    settings = moment.settings.model_copy(update={"budget_per_day": moment.budget, "budget_per_hour": 0})
    return rules(settings, [], NEVER)


def spread_out(moment: Moment) -> Rules:
    """The production's rules without their lane for what is novel."""
    return replace(whole(moment), novelty=0)


def measured(measure: str, moment: Moment) -> Rules:
    """The rank by one measure, and nothing else."""
    return replace(spread_out(moment), uncertainty=measure, spread=0, distance=0)


STRATEGIES = (
    Strategy("random", "by lot", False, by_lot),
    Strategy("least_confidence", "by the least sure box", True, partial(by_rules, partial(measured, "least_confidence"))),
    Strategy("entropy", "by the mean entropy of the boxes", True, partial(by_rules, partial(measured, "entropy"))),
    Strategy("expected_errors", "by the errors expected for the work", True, partial(by_rules, partial(measured, "expected_errors"))),
    Strategy("spread", "expected_errors, near-duplicates left out, spread over the embeddings", True, partial(by_rules, spread_out)),
    Strategy("production", "as the settings have it: spread, and a lane for what is novel", True, partial(by_rules, whole)),
)


def _drawn(pool: Sequence[Photo], count: int, seed: int) -> list[Photo]:
    return random.Random(seed).sample(list(pool), min(count, len(pool)))  # noqa: S311  a repeatable draw, no secret


def _candidates(moment: Moment) -> list[Candidate]:
    candidates = [
        Candidate(
            number,
            number,
            photo.source,
            False,
            _found(moment.seen[photo.key]),
            _vector(photo.descriptor),
            _vector(moment.seen[photo.key].embedding),
        )
        for number, photo in enumerate(moment.pool)
    ]
    landmarks = [moment.seen[photo.key].embedding for photo in moment.labelled if moment.seen[photo.key].embedding]
    return Space("embedding", np.array(landmarks, np.float32)).measure(candidates) if landmarks else candidates


def _known(moment: Moment) -> list[Known]:
    """What is labelled, as the newest model sees it."""
    numbers = range(len(moment.pool), len(moment.pool) + len(moment.labelled))
    return [
        Known(number, photo.source, _vector(photo.descriptor), _found(moment.seen[photo.key]))
        for number, photo in zip(numbers, moment.labelled, strict=True)
    ]


def _found(seen: Seen) -> tuple[Found, ...]:
    return tuple(Found(item.label, item.confidence, item.box.as_tuple()) for item in seen.detections)


def _vector(values: Sequence[float]) -> Vector | None:
    return np.array(values, np.float32) if values else None
