"""Priorities after a deployment: tasks that are urgent because a model was in doubt stand where the new model's doubt puts them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from sync.selection.choose import URGENT
from sync.selection.rules import RANDOM, Rules
from sync.selection.score import Found, uncertainty

REASONS = ("low_confidence", "adopted")  # the others are urgent for a reason that a new model does not change
HIGHEST = 1.0  # what is before it was put there by a person (see `sync.review.answer.flag`)
LEAST = 0.05  # a smaller change moves nobody, and places are so far apart


def doubt(found: Sequence[Found], rules: Rules) -> float:
    """How urgent a model's doubt makes an image, 0–1: as in the selection."""
    measure = "expected_errors" if rules.uncertainty == RANDOM else rules.uncertainty
    return min(uncertainty(found, measure, rules.scale), URGENT)


def moved(before: object, now: float | None, reason: str) -> float | None:
    """The new priority of a task that stands at `before` in Label Studio; None where it stays. One that somebody flagged stays before all.

    It is rounded to steps of 0.05: tasks of one priority are moved by one request, so however many there are, twenty will do.
    """
    if now is None or reason not in REASONS:
        return None
    place = round(round(now / LEAST) * LEAST, 2)
    stands = isinstance(before, (int, float)) and (before > HIGHEST or abs(before - place) <= LEAST)
    return None if stands else place
