"""Group commit: whoever returns is committed, exactly once; whoever is not is told so."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import BackpressureError, NotWritten
from ml_backend.group_commit import GroupCommit
from tests.fixtures.doors import await_until


class Store:
    """Takes groups one at a time, and only while its gate is open; the fateful one breaks its group."""

    def __init__(self, fateful: frozenset[int] = frozenset()) -> None:
        self.groups: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self._fateful, self._alone = fateful, threading.Lock()

    def commit(self, entries: Sequence[int]) -> None:
        assert self._alone.acquire(blocking=False), "two groups at once"
        try:
            self.groups.append(list(entries))
            self.gate.wait(10)
            if self._fateful & set(entries):
                raise OSError("the disk is full")
        finally:
            self._alone.release()


def outcome(future: Future[None]) -> str:
    error = future.exception(10)
    return type(error).__name__ if error else "committed"


@given(st.lists(st.integers(0, 40), max_size=60), st.frozensets(st.integers(0, 40), max_size=3), st.integers(1, 12))
def test_each_is_in_one_group_and_learns_its_fate(entries: list[int], fateful: frozenset[int], threads: int) -> None:
    store = Store(fateful)
    line = GroupCommit(store.commit)
    with ThreadPoolExecutor(threads) as pool:
        told = [outcome(future) for future in [pool.submit(line.submit, entry) for entry in entries]]
    assert Counter(entry for group in store.groups for entry in group) == Counter(entries)
    lost = Counter(entry for group in store.groups if fateful & set(group) for entry in group)
    assert Counter(entry for entry, fate in zip(entries, told, strict=True) if fate == "NotWritten") == lost


def test_those_that_come_during_a_commit_are_the_next_group() -> None:
    store = Store()
    line = GroupCommit(store.commit)
    store.gate.clear()
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(line.submit, 0)
        await_until(lambda: store.groups)
        others = [pool.submit(line.submit, number) for number in range(1, 8)]
        await_until(lambda: len(line._line) == 7)
        assert not first.done()
        store.gate.set()
        assert {outcome(future) for future in (first, *others)} == {"committed"}
    assert [sorted(group) for group in store.groups] == [[0], list(range(1, 8))]


def test_a_full_line_takes_nothing_more_and_says_so() -> None:
    store = Store()
    line = GroupCommit(store.commit, limit=2)
    store.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(line.submit, 0)]
        await_until(lambda: store.groups)
        taken += [pool.submit(line.submit, number) for number in (1, 2)]
        await_until(lambda: len(line._line) == 2)
        with pytest.raises(BackpressureError):
            line.submit(3)
        store.gate.set()
        assert {outcome(future) for future in taken} == {"committed"}
    assert sorted(entry for group in store.groups for entry in group) == [0, 1, 2]


def test_after_a_failure_the_next_is_taken() -> None:
    store = Store(frozenset({1}))
    line = GroupCommit(store.commit)
    with pytest.raises(NotWritten) as raised:
        line.submit(1)
    assert isinstance(raised.value.__cause__, OSError)
    line.submit(2)
    assert store.groups == [[1], [2]]
