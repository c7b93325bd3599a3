"""What may go: never what is needed or young, the oldest first, and no more than the bound asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ml_backend.retention import NEEDS, ROOM, YOUNG, Expiry, Held, Rules, choose

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ages = st.timedeltas(timedelta(0), timedelta(days=400))
needs = st.lists(st.sampled_from(sorted(NEEDS)), max_size=2, unique=True).map(tuple)


@st.composite
def stores(draw: st.DrawFn) -> list[Held]:
    found = draw(st.lists(st.tuples(ages, st.integers(1, 1000), needs), max_size=40))
    found = sorted(found, key=lambda one: -one[0])
    return [Held(number, 1, f"u{number}", size, NOW - age, why) for number, (age, size, why) in enumerate(found)]


rules = st.builds(Rules, st.integers(0, 300), st.integers(0, 20_000))


def total(images: list[Held]) -> int:
    return sum(image.size for image in images)


def gone(images: list[Held], given_rules: Rules) -> list[Expiry]:
    return choose(iter(images), total(images), given_rules, NOW)


@given(stores(), rules)
def test_nothing_that_is_needed_or_young_ever_goes(images: list[Held], given_rules: Rules) -> None:
    for expiry in gone(images, given_rules):
        assert not expiry.held.needed_for
        assert NOW - expiry.held.seen_at >= YOUNG


@given(stores(), rules)
def test_what_may_go_and_is_too_old_goes(images: list[Held], given_rules: Rules) -> None:
    chosen = {expiry.held.image_id for expiry in gone(images, given_rules)}
    limit = timedelta(days=given_rules.days) if given_rules.days else timedelta.max
    aged = {one.image_id for one in images if not one.needed_for and NOW - one.seen_at >= max(limit, YOUNG)}
    assert aged <= chosen
    assert given_rules.max_bytes or aged == chosen


@given(stores(), rules)
def test_the_bound_is_kept_where_it_can_be_and_by_no_more_than_one_image(images: list[Held], given_rules: Rules) -> None:
    chosen = gone(images, given_rules)
    left = total(images) - sum(expiry.held.size for expiry in chosen)
    kept = [one for one in images if one.image_id not in {expiry.held.image_id for expiry in chosen}]
    crowded = [expiry for expiry in chosen if expiry.cause == "size"]
    if given_rules.max_bytes and left > given_rules.max_bytes * ROOM:
        assert not [one for one in kept if not one.needed_for and NOW - one.seen_at >= YOUNG], "something could still go"
    if crowded:
        assert left + crowded[-1].held.size > given_rules.max_bytes * ROOM, "the last one need not have gone"


@given(stores(), rules)
def test_the_oldest_go_first(images: list[Held], given_rules: Rules) -> None:
    chosen = [expiry.held.image_id for expiry in gone(images, given_rules)]
    free = [one.image_id for one in images if not one.needed_for and NOW - one.seen_at >= YOUNG]
    assert chosen == free[: len(chosen)]


def test_without_rules_everything_stays() -> None:
    images = [Held(number, 1, f"u{number}", 10**9, NOW - timedelta(days=9999)) for number in range(5)]
    assert gone(images, Rules(0, 0)) == []
