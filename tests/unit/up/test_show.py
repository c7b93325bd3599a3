"""What `up` says when a program could not have the port that was wanted."""

from __future__ import annotations

from console.up.show import moved
from labelwheel.settings import Settings


def test_nothing_is_said_while_every_port_is_the_wanted_one() -> None:
    assert moved(Settings(), Settings()) == []


def test_a_port_that_moved_is_named_with_the_new_one() -> None:
    assert moved(Settings(), Settings(ml_backend_port=9191)) == ["Port 9090 was taken: ml_backend has 9191."]
