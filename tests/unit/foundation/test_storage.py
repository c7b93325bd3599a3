"""The image store: equal bytes once, whole or not at all, and nothing outside its root."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelwheel.errors import NotFoundError
from labelwheel.storage import ImageStore

DATA = bytes(range(256)) * 200
SHA = "ab" * 32


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


def files(store: ImageStore) -> list[str]:
    return [path.name for path in store.root.rglob("*") if path.is_file()]


def test_what_is_put_is_read(store: ImageStore) -> None:
    uri = store.put(DATA, SHA, ".png")
    assert uri == f"ab/{SHA}.png"
    assert store.read(uri) == DATA


def test_putting_twice_keeps_the_first_file(store: ImageStore) -> None:
    uri = store.put(DATA, SHA, ".png")
    os.utime(store.path(uri), (0, 0))
    before = store.path(uri).stat().st_ino
    assert store.put(DATA, SHA, ".png") == uri
    assert store.path(uri).stat().st_ino == before
    assert store.path(uri).stat().st_mtime > 0, "young again: no retention takes it while its row is under way"
    assert files(store) == [f"{SHA}.png"]


def test_many_threads_putting_one_image_leave_one_whole_file(store: ImageStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        uris = set(pool.map(lambda _: store.put(DATA, SHA, ".png"), range(32)))
    assert [store.read(uri) for uri in uris] == [DATA]
    assert files(store) == [f"{SHA}.png"]


def test_another_user_of_the_disk_may_read(store: ImageStore) -> None:
    assert store.path(store.put(DATA, SHA, ".png")).stat().st_mode & 0o044 == 0o044


def test_a_write_that_breaks_off_is_never_visible_and_leaves_nothing(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(_descriptor: int) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            store.put(DATA, SHA, ".png")
    assert files(store) == []
    assert store.read(store.put(DATA, SHA, ".png")) == DATA


@pytest.mark.parametrize("uri", ["../secret", "ab/../../secret", "/etc/passwd", "", ".", "ab", "missing.png", "link"])
def test_a_uri_that_leads_out_or_nowhere_is_not_found(store: ImageStore, uri: str) -> None:
    store.put(DATA, SHA, ".png")
    (store.root.parent / "secret").write_text("secret")
    (store.root / "link").symlink_to(store.root.parent / "secret")
    with pytest.raises(NotFoundError):
        store.read(uri)
