"""Regimes: disjoint sets, a test set that stands still, and a start set that lacks what it shall lack."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from console.simulate.regime import Novelty, Sizes, Split, homogeneous, newcomers, shift
from console.simulate.stock import Photo
from labelwheel.errors import InputError
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.geometry import Box

SOURCES, LABELS = ("line-a", "line-b", "line-c"), ("crack", "dent", "stain")
seeds = st.integers(0, 2**20)


@st.composite
def plants(draw: st.DrawFn) -> tuple[Photo, ...]:
    """40 to 90 photographs of three sources; each label is on some of them."""
    kinds = st.tuples(st.sampled_from(SOURCES), st.lists(st.sampled_from(LABELS), max_size=4))
    drawn = draw(st.lists(kinds, min_size=40, max_size=90))
    return tuple(photo(number, source, labels) for number, (source, labels) in enumerate(drawn))


def photo(number: int, source: str, labels: Sequence[str]) -> Photo:
    """Every third is cut from the same original as the one before it."""
    boxes = tuple(LabelledBox(label, Box(0, 0, 10 + place, 10)) for place, label in enumerate(labels))
    original = number - 1 if number % 3 == 2 else number
    return Photo(f"{number:064x}", f"{number}.png", 64, 64, source, boxes, f"original {original}")


sizes = st.builds(Sizes, st.integers(0, 4), st.integers(1, 5), st.integers(1, 40), st.integers(1, 12))


@given(plants(), sizes, seeds)
def test_the_sets_are_disjoint_and_no_larger_than_asked(photos: tuple[Photo, ...], sizes: Sizes, seed: int) -> None:
    for regime in (homogeneous, shift):
        split = _split(regime, photos, sizes, seed)
        keys = [item.key for part in (split.base, split.start, split.pool, split.test) for item in part]
        assert len(set(keys)) == len(keys)
        assert (len(split.base), len(split.start)) == (sizes.base, sizes.start)
        assert len(split.pool) <= sizes.pool and len(split.test) <= sizes.test
        assert split.pool
        tested = {(item.source, item.original) for item in split.test}
        assert not tested & {
            (item.source, item.original) for item in split.base + split.start + split.pool
        }  # nor do parts of one image part


@given(plants(), sizes, seeds, seeds)
def test_test_and_base_are_the_same_for_every_seed(photos: tuple[Photo, ...], sizes: Sizes, one: int, other: int) -> None:
    for regime in (homogeneous, shift):
        first, second = (_split(regime, photos, sizes, seed) for seed in (one, other))
        assert (first.test, first.base) == (second.test, second.base)
        assert _split(regime, photos[::-1], sizes, one) == first  # nor does the order of the files matter


@given(plants(), sizes, seeds, st.sampled_from(SOURCES), st.sampled_from(LABELS))
def test_shift_starts_without_its_source_and_label_and_meets_them_in_the_pool(
    photos: tuple[Photo, ...], sizes: Sizes, seed: int, source: str, label: str
) -> None:
    split = _split(lambda *given: shift(given[0], given[1], Novelty(source, label), given[3]), photos, sizes, seed)
    assert all(item.source != source and label not in item.labels for item in split.base + split.start)
    fresh = sum(item.source == source for item in split.pool)
    rare = sum(item.source != source and label in item.labels for item in split.pool)
    assert fresh <= round(sizes.pool * sizes.new)
    assert rare <= round(sizes.pool * sizes.rare)
    held = {item.key for item in split.test}
    left = [item for item in photos if item.key not in held]
    assert fresh == min(round(sizes.pool * sizes.new), sum(item.source == source for item in left))
    assert rare == min(round(sizes.pool * sizes.rare), sum(item.source != source and label in item.labels for item in left))


def test_what_is_held_back_by_default_is_the_last_source_and_the_scarcest_label_elsewhere() -> None:
    photos = [photo(0, "a", ["dent", "crack"]), photo(1, "a", ["dent"]), photo(2, "b", ["crack"]), photo(3, "b", ["crack", "stain"])]
    assert newcomers(photos, Novelty()) == Novelty("b", "crack")  # stain is on the new source only
    assert newcomers(photos, Novelty("a", "dent")) == Novelty("a", "dent")


def test_names_that_are_not_there_and_sets_that_cannot_be_filled_are_refused() -> None:
    photos = [photo(number, "a" if number % 2 else "b", ["dent", "crack"][: number % 3]) for number in range(20)]
    with pytest.raises(InputError, match="no source 'c'"):
        newcomers(photos, Novelty("c"))
    with pytest.raises(InputError, match="no label 'stain'"):
        newcomers(photos, Novelty("", "stain"))
    with pytest.raises(InputError, match="one source only"):
        newcomers([item for item in photos if item.source == "a"], Novelty())
    with pytest.raises(InputError, match="too few"):
        homogeneous(photos, Sizes(start=20), Novelty(), 0)
    with pytest.raises(InputError, match="lack"):
        shift(photos, Sizes(start=15, test=4), Novelty(), 0)


def _split(regime: object, photos: Sequence[Photo], sizes: Sizes, seed: int) -> Split:
    """The split, of an example that has images enough for one."""
    try:
        return regime(photos, sizes, Novelty(), seed)  # type: ignore[operator]
    except InputError:
        assume(False)
        raise
