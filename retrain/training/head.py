"""The rows of a class head when classes have changed: which row of the weights that a training starts from goes where.

Ultralytics finds rows by names. Ours may have changed since, may differ in case only, and those of retired classes are to begin anew, so
that they fade at once. A class that the weights do not know begins as in a fresh network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def rows(trained: Sequence[str], wanted: Sequence[str], formerly: Mapping[str, str], retired: Collection[str]) -> list[int | None]:
    """For each class wanted the number of its row in weights that were trained on `trained`; None: it begins anew. Pure.

    `formerly` leads from names that classes had to those that they have; `retired` are classes in use no more.
    """
    known = {formerly.get(name, name): number for number, name in enumerate(trained)}
    return [None if name in retired else known.get(name) for name in wanted]


def load(network: Any, weights: Any, places: Sequence[int | None]) -> None:
    """Load weights into a fresh network, with each class's row from its place. Raises nothing for another shape: that layer begins anew."""
    ours, theirs = network.names, weights.names
    try:  # ultralytics moves rows whose names are equal
        weights.names = {number: f"row {number}" for number in theirs}
        network.names = {number: f"new {number}" if place is None else f"row {place}" for number, place in enumerate(places)}
        network.load(weights)
    finally:
        network.names, weights.names = ours, theirs
