"""Settings that give names a share: `line-1=0.5 *=0.3`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

OTHERS = "*"


def read_shares(text: str) -> dict[str, float]:
    """Shares (0–1) by name, separated by blanks; `*` is for each name that is not listed, and a name with blanks stands in quotes.

    ValueError naming the entry that cannot be read.
    """
    return dict(_read(entry) for entry in shlex.split(text))


def share_of(shares: Mapping[str, float], name: str) -> float | None:
    """The share of a name; None where nothing is said of it."""
    return shares.get(name, shares.get(OTHERS))


def _read(entry: str) -> tuple[str, float]:
    name, _, number = entry.rpartition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if not name or not 0 <= share <= 1:
        raise ValueError(f"{entry!r} is no name with a share from 0 to 1, such as line-1=0.5")
    return name, share
