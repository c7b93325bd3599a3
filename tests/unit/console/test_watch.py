"""When a file counts as written, and where it goes: without a clock and without a folder that is watched."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.watch import Desk, Signature, Watched, move
from labelwheel.errors import InputError

QUIET = 2.0
FILES = [Path("a.png"), Path("b.png"), Path("c.png")]
signatures = st.tuples(st.integers(0, 3), st.integers(0, 3))
steps = st.lists(st.tuples(st.floats(0, 3), st.dictionaries(st.sampled_from(FILES), st.one_of(st.none(), signatures))), max_size=30)


@given(steps)
def test_a_file_is_ready_only_after_it_kept_still_and_once_for_each_state(turns: list[tuple[float, dict[Path, Signature | None]]]) -> None:
    desk, now, disk, since = Desk(QUIET), 0.0, {}, {}
    sent: dict[Path, Signature] = {}
    for passed, changes in turns:
        now += passed
        for path, signature in changes.items():
            if disk.get(path) != signature:
                since[path] = now
            disk[path] = signature
        for path in desk.look(changes, now, disk.get):
            state = disk[path]
            assert state is not None and state[0] > 0, "a file that is gone or empty is not sent"
            assert now - since[path] >= QUIET, "a file that changed lately is not sent"
            assert sent.get(path) != state, "a state that was sent is not sent again"
            sent[path] = state
            desk.settle(path, state)


@given(st.floats(0, 10))
def test_a_file_that_keeps_still_is_ready_without_another_event(start: float) -> None:
    desk = Desk(QUIET)
    assert desk.look([FILES[0]], start, lambda _: (5, 1)) == []
    assert desk.look([], start + QUIET + 0.01, lambda _: (5, 1)) == [FILES[0]]


def test_a_file_that_comes_back_after_it_was_forgotten_is_looked_at_anew() -> None:
    desk = Desk(0)
    desk.settle(FILES[0], (5, 1))
    assert desk.look(FILES[:1], 1, lambda _: (5, 1)) == []
    desk.forget_all_but([])
    assert desk.look(FILES[:1], 2, lambda _: (5, 1)) == FILES[:1]


def test_moving_overwrites_nothing_and_keeps_equal_bytes_once(tmp_path: Path) -> None:
    target = tmp_path / "done" / "a.png"
    for content in (b"one", b"two", b"one", b"three"):
        (tmp_path / "a.png").write_bytes(content)
        move(tmp_path / "a.png", target)
        assert not (tmp_path / "a.png").exists()
    assert {path.name: path.read_bytes() for path in target.parent.iterdir()} == {"a.png": b"one", "a-1.png": b"two", "a-2.png": b"three"}


def test_a_contradiction_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    inbox = tmp_path / "in"
    for folder, done, delete in ((tmp_path / "nowhere", None, False), (inbox, tmp_path / "out", True), (inbox, tmp_path, False)):
        with pytest.raises(InputError) as caught:
            Watched.of(folder, None, "", QUIET, done, delete)
        assert caught.value.cure


def test_what_was_moved_inside_the_folder_is_not_sent_again(tmp_path: Path) -> None:
    watched = Watched.of(tmp_path, None, "", QUIET, tmp_path / "done", False)
    held = [name for name in ("a.png", "sub/b.JPG", "done/a.png", ".a.png", "a.png.part", "notes.txt") if watched.holds(tmp_path / name)]
    assert held == ["a.png", "sub/b.JPG"]
