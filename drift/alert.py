"""When a row of drifted windows becomes an alert, and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class Verdict(StrEnum):
    RAISE = "raise"
    KEEP = "keep"
    RESOLVE = "resolve"
    NOTHING = "nothing"


def decide(drifted: Sequence[bool], open_alert: bool, repeats: int) -> Verdict:
    """What the latest windows (newest first) ask for.

    `repeats` drifted windows in a row raise; the same number of calm ones resolve. What lies between changes nothing,
    so that a source at the edge of the threshold does not ring with every window.
    """
    newest = drifted[:repeats]
    if len(newest) < repeats:
        return Verdict.KEEP if open_alert else Verdict.NOTHING
    if open_alert:
        return Verdict.KEEP if any(newest) else Verdict.RESOLVE
    return Verdict.RAISE if all(newest) else Verdict.NOTHING
