"""Who comes first is served first; who is alone is told so."""

from __future__ import annotations

import threading

import pytest

from labelwheel.vision.lanes import Lanes, get_lanes


def test_work_is_done_in_the_order_of_its_coming_whoever_brings_it() -> None:
    lanes, gate, done = Lanes(1), threading.Event(), []
    first = lanes.submit(lambda _: gate.wait(10))

    def work(name: str) -> None:
        lanes.submit(lambda _: done.append(name))

    for number in range(3):
        work(f"batch {number}")
    work("annotator")
    work("batch 3")
    gate.set()
    lanes.submit(lambda _: None).result(10)
    assert first.result(10)
    assert done == ["batch 0", "batch 1", "batch 2", "annotator", "batch 3"]


def test_as_many_run_at_once_as_there_are_lanes() -> None:
    lanes, together = Lanes(3), threading.Barrier(3)
    for future in [lanes.submit(lambda _: together.wait(10)) for _ in range(3)]:
        future.result(10)


def test_alone_is_who_has_nobody_beside_or_behind() -> None:
    lanes, gate = Lanes(2), threading.Event()
    assert lanes.submit(lambda alone: alone).result(10)

    def wait(alone: bool) -> bool:
        gate.wait(10)
        return alone

    first, second = lanes.submit(wait), lanes.submit(lambda alone: alone)
    assert not second.result(10)
    gate.set()
    first.result(10)
    assert lanes.submit(lambda alone: alone).result(10), "the others are gone"


def test_what_fails_leaves_its_lane() -> None:
    lanes = Lanes(1)
    with pytest.raises(ZeroDivisionError):
        lanes.submit(lambda _: 1 // 0).result(10)
    assert lanes.submit(lambda alone: alone).result(10)


def test_what_is_cancelled_is_not_waited_for() -> None:
    lanes, gate = Lanes(1), threading.Event()
    first = lanes.submit(lambda _: gate.wait(10))
    assert lanes.submit(lambda _: None).cancel()
    gate.set()
    first.result(10)
    assert lanes.submit(lambda alone: alone).result(10)


def test_a_process_has_one_set_of_lanes_for_each_number() -> None:
    assert get_lanes(2) is get_lanes(2)
    assert get_lanes(3).count == 3
