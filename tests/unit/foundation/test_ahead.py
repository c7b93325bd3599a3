"""Work done ahead: in order, bounded, and without remains."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.ahead import ahead


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_results_come_in_order(items: list[int], threads: int, window: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        assert [future.result() for future in ahead(lambda item: pool.submit(lambda: item * 2), items, window)] == [
            item * 2 for item in items
        ]


def test_no_more_than_the_window_is_held() -> None:
    started = []
    with ThreadPoolExecutor(8) as pool:
        results = ahead(lambda item: pool.submit(started.append, item), range(100), 4)
        for read, future in enumerate(results, start=1):
            future.result()
            assert len(started) <= read + 4
    assert sorted(started) == list(range(100))


def test_one_that_fails_spoils_none() -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = ahead(lambda item: pool.submit(lambda: 1 // item), [0, 1], 2)
        with pytest.raises(ZeroDivisionError):
            first.result()
        assert second.result() == 1


def test_a_reader_that_stops_cancels_what_has_not_begun() -> None:
    gate, done = threading.Event(), []

    def work(item: int) -> None:
        gate.wait()
        done.append(item)

    with ThreadPoolExecutor(1) as pool:
        results = ahead(lambda item: pool.submit(work, item), range(10), 5)
        next(results)
        results.close()
        gate.set()
    assert len(done) <= 1
