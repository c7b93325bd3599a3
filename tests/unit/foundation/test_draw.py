"""The draw at arrival: repeatable, unforeseeable, and as frequent as promised."""

from __future__ import annotations

import hashlib
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.draw import Draw, draw, inherit

rates = st.floats(0, 1)
ids = st.binary(min_size=1).map(lambda data: hashlib.sha256(data).hexdigest())
DRAWS = 20_000


def drawn(salt: str, audit_rate: float, holdout_rate: float) -> list[Draw]:
    return [draw(salt, hashlib.sha256(str(n).encode()).hexdigest(), audit_rate, holdout_rate) for n in range(DRAWS)]


@given(st.text(), ids, rates, rates)
def test_equal_bytes_draw_the_same_and_only_audits_form_the_holdout(salt: str, sha256: str, audit_rate: float, holdout_rate: float) -> None:
    once = draw(salt, sha256, audit_rate, holdout_rate)
    assert draw(salt, sha256, audit_rate, holdout_rate) == once
    assert once.split in ("train", "holdout")
    assert once.audit or once.split == "train"
    assert once.propensity == audit_rate


@given(st.text(), ids, rates, rates)
def test_a_higher_rate_only_adds_audits(salt: str, sha256: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert draw(salt, sha256, low, 0.5).audit <= draw(salt, sha256, high, 0.5).audit


@given(st.text(), ids)
def test_the_ends_are_never_and_always(salt: str, sha256: str) -> None:
    assert draw(salt, sha256, 0, 1) == Draw(False, "train", 0)
    assert draw(salt, sha256, 1, 1) == Draw(True, "holdout", 1)
    assert draw(salt, sha256, 1, 0) == Draw(True, "train", 1)


@pytest.mark.parametrize("salt", ["a", "b", "c"])
@pytest.mark.parametrize(("audit_rate", "holdout_rate"), [(0.1, 0.5), (0.02, 0.9), (0.5, 0.1)])
def test_frequencies_lie_within_binomial_bounds(salt: str, audit_rate: float, holdout_rate: float) -> None:
    draws = drawn(salt, audit_rate, holdout_rate)
    audited = sum(one.audit for one in draws)
    held_out = sum(one.split == "holdout" for one in draws)
    for count, rate in ((audited, audit_rate), (held_out, audit_rate * holdout_rate)):
        assert abs(count - DRAWS * rate) < 4.5 * sqrt(DRAWS * rate * (1 - rate))  # missed by chance once in 150,000


def test_another_salt_draws_anew() -> None:
    both = sum(one.audit and other.audit for one, other in zip(drawn("a", 0.1, 0.5), drawn("b", 0.1, 0.5), strict=True))
    assert abs(both - DRAWS * 0.01) < 4.5 * sqrt(DRAWS * 0.01 * 0.99)


@given(st.sampled_from(["train", "holdout"]), st.sets(st.sampled_from(["train", "holdout", "quarantined"])))
def test_twins_share_a_split_and_what_resembles_both_sides_is_quarantined(own: str, twins: set[str]) -> None:
    split = inherit(own, twins)
    assert (split == "quarantined") == ({"train", "holdout"} <= twins)
    assert split in twins or split == "quarantined" or twins <= {"quarantined"}
    assert inherit(own, set()) == inherit(own, {"quarantined"}) == own
