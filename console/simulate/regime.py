"""Where the start set, the pool and the test set come from: one steady stream, or one to which a new source and a rare label come. Pure."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from console.simulate.stock import Photo
from labelwheel.errors import InputError

FEWER = "Ask for fewer: --base, --start, --test."


@dataclass(frozen=True, slots=True)
class Sizes:
    """Images in each set; with a `base` of 0, start models begin from scratch.

    In the regime `shift`, the share `new` of the pool is of the new source, and `rare` of it bears the rare label.
    """

    base: int = 0
    start: int = 80
    pool: int = 240
    test: int = 160
    new: float = 0.25
    rare: float = 0.1
    new_in_test: float = 0.4


@dataclass(frozen=True, slots=True)
class Split:
    """Disjoint sets of one regime and seed. `new_source` and `rare_label` are what base and start set lack; empty where they lack nothing."""

    base: tuple[Photo, ...]
    start: tuple[Photo, ...]
    pool: tuple[Photo, ...]
    test: tuple[Photo, ...]
    new_source: str = ""
    rare_label: str = ""


@dataclass(frozen=True, slots=True)
class Novelty:
    """What the regime `shift` holds back; empty names are chosen by `newcomers`."""

    source: str = ""
    label: str = ""


@dataclass(frozen=True)
class Regime:
    """A name, what it means, and how photographs are split: `split(photos, sizes, novelty, seed)`."""

    name: str
    meaning: str
    split: Callable[[Sequence[Photo], Sizes, Novelty, int], Split] = field(repr=False)


def homogeneous(photos: Sequence[Photo], sizes: Sizes, _novelty: Novelty, seed: int) -> Split:
    """All sources mixed: every set is a draw from the same stream. Test and base are the same for every seed."""
    test, others = _tested(photos, sizes.test)
    base, rest = others[: sizes.base], _shuffled(others[sizes.base :], seed)
    if len(rest) < sizes.start + 1:
        wanted = f"a base of {sizes.base}, a start set of {sizes.start} and a test set of {sizes.test}"
        raise InputError(f"{len(photos)} images are too few for {wanted}.", FEWER)
    return Split(base, rest[: sizes.start], rest[sizes.start : sizes.start + sizes.pool], test)


def shift(photos: Sequence[Photo], sizes: Sizes, novelty: Novelty, seed: int) -> Split:
    """Base and start set know neither one source nor one label; the pool has both, and the test set asks for both."""
    novelty = newcomers(photos, novelty)
    fresh = [photo for photo in photos if photo.source == novelty.source]
    known = [photo for photo in photos if photo.source != novelty.source]
    # At most half of the new source's images are held for the test, so that the pool keeps some.
    asked = min(round(sizes.test * sizes.new_in_test), len(fresh) // 2)
    test_fresh, fresh_rest = _tested(fresh, asked)
    test_known, known_rest = _tested(known, sizes.test - asked)
    ordinary = [photo for photo in known_rest if novelty.label not in photo.labels]
    rare = [photo for photo in known_rest if novelty.label in photo.labels]
    if len(ordinary) < sizes.base + sizes.start + 1:
        wanted = f"a base of {sizes.base} and a start set of {sizes.start}"
        message = f"Only {len(ordinary)} images of known sources lack {novelty.label!r}: too few for {wanted}."
        raise InputError(message, "Ask for a smaller --start or --base, or for another --rare-label.")
    base, ordinary = ordinary[: sizes.base], list(_shuffled(ordinary[sizes.base :], seed))
    pool = _mixture(ordinary[sizes.start :], _shuffled(rare, seed), _shuffled(fresh_rest, seed), sizes)
    test = (*test_known, *test_fresh)
    return Split(tuple(base), tuple(ordinary[: sizes.start]), _shuffled(pool, seed), test, novelty.source, novelty.label)


REGIMES = (
    Regime("homogeneous", "one stream, all sources mixed", homogeneous),
    Regime("shift", "a new source and a rare label appear", shift),
)


def newcomers(photos: Sequence[Photo], wanted: Novelty) -> Novelty:
    """The source and label to hold back: as asked, else the last source by name, and the label that most other images lack.

    Raises InputError for names that are not there, and when there is one source or one label only.
    """
    sources, labels = sorted({photo.source for photo in photos}), sorted({label for photo in photos for label in photo.labels})
    for kind, name, names in (("source", wanted.source, sources), ("label", wanted.label, labels)):
        if len(names) < 2:
            raise InputError(f"There is one {kind} only ({', '.join(names)}); the regime `shift` holds one back.", "--regime homogeneous")
        if name and name not in names:
            raise InputError(f"There is no {kind} {name!r}.", f"Take one of {', '.join(names)}.")
    source = wanted.source or sources[-1]
    bearing = Counter(label for photo in photos if photo.source != source for label in photo.labels)
    return Novelty(source, wanted.label or min((name for name in labels if bearing[name]), key=lambda name: bearing[name]))


def _mixture(ordinary: Sequence[Photo], rare: Sequence[Photo], fresh: Sequence[Photo], sizes: Sizes) -> tuple[Photo, ...]:
    with_new, with_rare = round(sizes.pool * sizes.new), round(sizes.pool * sizes.rare)
    return (*fresh[:with_new], *rare[:with_rare], *ordinary[: sizes.pool - with_new - with_rare])


def _tested(photos: Sequence[Photo], count: int) -> tuple[tuple[Photo, ...], tuple[Photo, ...]]:
    """At most `count` photographs for the test, and the others, by lot. Parts of one original stay together.

    The lot is drawn from the content: every seed and every strategy meets the same test.
    """
    groups: dict[str, list[Photo]] = {}
    for photo in sorted(photos, key=lambda photo: photo.key):
        groups.setdefault(photo.original or photo.key, []).append(photo)
    test: list[Photo] = []
    rest: list[Photo] = []
    for name in sorted(groups, key=lambda name: hashlib.sha256(f"test {name}".encode()).hexdigest()):
        (test if len(test) + len(groups[name]) <= count else rest).extend(groups[name])
    return tuple(test), tuple(rest)


def _shuffled(photos: Sequence[Photo], seed: int) -> tuple[Photo, ...]:
    ordered = sorted(photos, key=lambda photo: photo.key)
    random.Random(seed).shuffle(ordered)  # noqa: S311  a repeatable draw, no secret
    return tuple(ordered)
