"""Guessing is slowed down per address, and only for a while."""

from __future__ import annotations

from console.guesses import Guesses


def test_five_failures_make_an_address_wait_until_the_first_is_a_minute_old() -> None:
    guesses = Guesses(limit=5, seconds=60)
    for second in range(5):
        assert guesses.wait("a", second) == 0
        guesses.failed("a", second)
    assert guesses.wait("a", 10) == 50
    assert guesses.wait("b", 10) == 0, "another address is not to blame"
    assert guesses.wait("a", 60) == 0
    guesses.failed("a", 60)
    assert guesses.wait("a", 60.5) == 0.5, "the next failure waits for the next oldest"


def test_a_right_password_forgives() -> None:
    guesses = Guesses(limit=1)
    guesses.failed("a", 0)
    guesses.forgive("a")
    assert guesses.wait("a", 1) == 0
