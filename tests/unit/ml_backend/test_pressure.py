"""When the door is closed for what is new: each bound by itself, and the disk before all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.settings import Settings
from ml_backend.pressure import DiskFull, Load, QueueFull, StoreFull, excess, free_bytes

BOUNDS = Settings(min_free_bytes=1000, store_max_bytes=5000, pending_max=30)
FINE = Load(free_bytes=1000, store_bytes=4999, pending=29)


@pytest.mark.parametrize(
    ("load", "error", "setting"),
    [
        (replace(FINE, free_bytes=999), DiskFull, "LABELWHEEL_STORE_MAX_BYTES"),
        (replace(FINE, store_bytes=5000), StoreFull, "LABELWHEEL_STORE_MAX_BYTES"),
        (replace(FINE, pending=30), QueueFull, "labelwheel doctor"),
        (Load(0, 10**9, 10**9), DiskFull, ""),
    ],
)
def test_each_bound_closes_the_door_and_says_so(load: Load, error: type[Exception], setting: str) -> None:
    assert excess(FINE, BOUNDS) is None
    refusal = excess(load, BOUNDS)
    assert type(refusal) is error
    assert refusal.status == 429 and refusal.retry_after > 0
    assert setting in refusal.cure


@given(st.builds(Load, st.just(0), st.integers(0, 2**60), st.integers(0, 2**40)))
def test_a_bound_of_nought_is_none(load: Load) -> None:
    assert excess(load, Settings(min_free_bytes=0, store_max_bytes=0, pending_max=0)) is None


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "media" / "images") > 0
