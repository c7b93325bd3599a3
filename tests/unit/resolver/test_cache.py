"""The cache of copies: bounded, the least recently used go first, and what is torn is never served."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.resolver.cache import DRAFT, DRAFT_SECONDS, ImageCache
from labelwheel.vision.image import digest

KB = 1024


def copy(number: int, size: int = KB) -> tuple[bytes, str]:
    data = number.to_bytes(4, "big") * (size // 4)
    return data, digest(data)


def held(root: Path) -> int:
    return sum(path.stat().st_size for path in root.glob("??/*"))


def age(root: Path, sha256: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(root / sha256[:2] / sha256, (then, then))


def test_what_was_put_is_got(tmp_path: Path) -> None:
    data, sha256 = copy(1)
    ImageCache(tmp_path, 64 * KB).put(data, sha256)
    assert ImageCache(tmp_path, 64 * KB).get(sha256) == data
    assert ImageCache(tmp_path, 64 * KB).get(copy(2)[1]) is None


@given(st.integers(0, KB), st.binary(max_size=9))
def test_a_torn_or_damaged_copy_is_thrown_away(tmp_path_factory: pytest.TempPathFactory, kept: int, tail: bytes) -> None:
    root = tmp_path_factory.mktemp("cache")
    data, sha256 = copy(1)
    cache = ImageCache(root, 64 * KB)
    cache.put(data, sha256)
    path = root / sha256[:2] / sha256
    path.write_bytes(data[:kept] + tail)
    whole = data[:kept] + tail == data
    assert cache.get(sha256) == (data if whole else None)
    assert path.exists() == whole
    cache.put(data, sha256)
    assert cache.get(sha256) == data


def test_the_bound_holds_and_the_least_recently_used_go(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, 64 * KB)
    copies = [copy(number) for number in range(50)]
    for place, (data, sha256) in enumerate(copies):
        cache.put(data, sha256)
        age(tmp_path, sha256, 1000 - place)
    assert cache.get(copies[0][1])  # used just now
    for number in range(100, 140):
        cache.put(*copy(number))
    assert held(tmp_path) <= 64 * KB
    left = [cache.get(sha256) is not None for _, sha256 in copies]
    assert left[0]
    assert not any(left[1:10])
    assert left[-5:] == [True] * 5


def test_what_others_left_is_counted_at_the_first_look(tmp_path: Path) -> None:
    large = ImageCache(tmp_path, 1024 * KB)
    for number in range(100):
        large.put(*copy(number))
    ImageCache(tmp_path, 64 * KB).put(*copy(500))
    assert held(tmp_path) <= 64 * KB


def test_a_copy_that_would_push_out_all_others_is_not_kept_and_nothing_is_with_no_room(tmp_path: Path) -> None:
    data, sha256 = copy(1, 32 * KB)
    for size in (0, 64 * KB):
        cache = ImageCache(tmp_path / str(size), size)
        cache.put(data, sha256)
        assert cache.get(sha256) is None


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, 64 * KB)
    cache.put(*copy(1))
    folder = tmp_path / copy(1)[1][:2]
    old, young = folder / f"{DRAFT}old", folder / f"{DRAFT}young"
    for draft in (old, young):
        draft.write_bytes(b"half")
    os.utime(old, (0, time.time() - DRAFT_SECONDS - 1))
    ImageCache(tmp_path, 64 * KB).put(*copy(2))
    assert (old.exists(), young.exists()) == (False, True)


def test_a_disk_that_cannot_be_written_costs_the_copy_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = ImageCache(tmp_path / "file" / "cache", 64 * KB)
    cache.put(*copy(1))
    assert cache.get(copy(1)[1]) is None


def hammer(root: Path, worker: int) -> int:
    """Put and get a shared set of copies; how many answers were wrong."""
    cache = ImageCache(root, 32 * KB)
    wrong = 0
    for turn in range(150):
        data, sha256 = copy((turn * 7 + worker) % 60)
        cache.put(data, sha256)
        wrong += cache.get(sha256) not in (data, None)
    return wrong


@pytest.fixture
def workers() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(3, mp_context=get_context("fork")) as pool:
        yield pool


def test_processes_share_it_and_none_is_served_half_a_copy(tmp_path: Path, workers: ProcessPoolExecutor) -> None:
    assert list(workers.map(hammer, [tmp_path] * 3, range(3))) == [0, 0, 0]
    ImageCache(tmp_path, 32 * KB).put(*copy(1000))
    assert held(tmp_path) <= 32 * KB
