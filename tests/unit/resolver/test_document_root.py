"""Label Studio's local files on a shared disk: what is below the root, and nothing that links out of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labelwheel.errors import ImageError
from labelwheel.resolver.document_root import document_root, read_file
from labelwheel.resolver.fetch import Validators
from labelwheel.settings import Settings

NOBODY = Validators()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "line 1").mkdir(parents=True)
    (tmp_path / "root" / "line 1" / "a.jpg").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"outside")
    return tmp_path / "root"


def test_a_file_is_read_once_and_again_when_it_changed(root: Path) -> None:
    first = read_file(root, "line 1/a.jpg", 100, NOBODY)
    assert first
    assert first.data == b"inside"
    again = read_file(root, "line 1/a.jpg", 100, first.validators)
    assert again
    assert again.data is None
    draft = root / "draft"
    draft.write_bytes(b"other!")
    draft.replace(root / "line 1" / "a.jpg")
    changed = read_file(root, "line 1/a.jpg", 100, first.validators)
    assert changed
    assert changed.data == b"other!"


@pytest.mark.parametrize(
    "path", ["../secret", "line 1/../../secret", "link", "folder-link/secret", "loop", "line 1", "gone.jpg", "pipe", "a" * 999, "a\x00b"]
)
def test_nothing_else_is_read(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "folder-link").symlink_to(root.parent)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    assert read_file(root, path, 100, NOBODY) is None


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "newest.jpg").symlink_to(root / "line 1" / "a.jpg")
    found = read_file(root, "newest.jpg", 100, NOBODY)
    assert found
    assert found.data == b"inside"


def test_a_large_file_is_refused_unread(root: Path) -> None:
    with pytest.raises(ImageError, match="more than 5 bytes"):
        read_file(root, "line 1/a.jpg", 5, NOBODY)


def test_the_root_is_ours_where_label_studio_shares_it(tmp_path: Path) -> None:
    assert document_root(Settings(home=tmp_path)) == tmp_path / "media"
    assert document_root(Settings(home=tmp_path, image_urls="signed")) is None
    assert document_root(Settings(home=tmp_path, image_urls="signed", label_studio_files=tmp_path / "theirs")) == tmp_path / "theirs"
