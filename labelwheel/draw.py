"""The draw at arrival: which captures are audited and which form the holdout, before any model looks.

The draw follows from the image's bytes and the project's secret salt: equal bytes always share a split, a repeated request
draws the same again, and nobody outside can foresee it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Draw:
    """`propensity` is the probability with which a capture is audited; the holdout is a part of the audits."""

    audit: bool
    split: str
    propensity: float


def draw(salt: str, sha256: str, audit_rate: float, holdout_rate: float) -> Draw:
    """Draw for one image: audited with `audit_rate`, and then in the holdout with `holdout_rate` (both 0–1)."""
    audited = _uniform(salt, "audit", sha256) < audit_rate
    held_out = audited and _uniform(salt, "holdout", sha256) < holdout_rate
    return Draw(audited, "holdout" if held_out else "train", audit_rate)


def inherit(drawn: str, twins: Collection[str]) -> str:
    """The split of an image whose twins have these: theirs; quarantined where they stand on both sides; else what was drawn for itself."""
    assigned = {split for split in twins if split != "quarantined"}
    if len(assigned) > 1:
        return "quarantined"
    return next(iter(assigned), drawn)


def _uniform(salt: str, purpose: str, sha256: str) -> float:
    digest = hashlib.sha256(f"{salt}/{purpose}/{sha256}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
