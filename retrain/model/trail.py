"""The way that a project's champions came, and where a rollback leads on it: back to what served before, and from there further back. Pure.

A rollback takes steps back; everything else that lets another version serve is a step forward, whoever took it and however old the version is. What
was rolled back is off the trail: after a rollback and a new promotion, back is where that promotion began. So rollbacks in a row lead to the
first champion and end there, and never to and fro.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One deployment of a champion: which version, and whether it was a rollback."""

    model_version_id: int
    back: bool = False


def trail(turns: Iterable[Turn]) -> list[int]:
    """The versions that lead to the one that serves, which is the last. `turns` are all deployments, oldest first."""
    found: list[int] = []
    for turn in turns:
        if turn.back and turn.model_version_id in found:
            while found[-1] != turn.model_version_id:
                found.pop()
        elif found[-1:] != [turn.model_version_id]:  # also a rollback to what was rolled back before
            found.append(turn.model_version_id)
    return found


def earlier(turns: Iterable[Turn]) -> int | None:
    """The version that a rollback leads to; None where none served before."""
    found = trail(turns)
    return found[-2] if len(found) > 1 else None
