"""What is named becomes images, each with a source and an id that is its own."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from console.items import items_of, of_url, without_secrets
from labelwheel.errors import InputError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def ids(what: object, source: str | None = None, prefix: str = "") -> list[tuple[str, str]]:
    return [(item.source, item.external_id) for item in items_of(str(what), source, prefix)]


def test_a_folder_names_its_images_and_sub_folders_their_source(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    touch(folder, "b/2.PNG", "a/1.jpg", "0.tif", "notes.txt", ".hidden.png", ".cache/3.png", "a/.1.jpg.Xy7")
    assert ids(folder) == [("day", "day/0.tif"), ("a", "a/1.jpg"), ("b", "b/2.PNG")]
    assert ids(folder, "line-1") == [("line-1", "line-1/0.tif"), ("line-1", "line-1/a/1.jpg"), ("line-1", "line-1/b/2.PNG")]
    assert ids(folder / "a", "a", "monday/") == [("a", "monday/a/1.jpg")]


def test_equal_names_of_two_lines_are_two_images(tmp_path: Path) -> None:
    touch(tmp_path, "x/0001.png", "y/0001.png")
    assert ids(tmp_path / "x", "line-1") != ids(tmp_path / "y", "line-2")


def test_an_image_is_known_by_the_same_id_alone_and_with_its_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x/0001.png")
    assert ids(tmp_path / "x" / "0001.png", "line-1") == ids(tmp_path / "x", "line-1")
    assert ids(tmp_path / "x" / "0001.png") == ids(tmp_path / "x")


def test_a_list_counts_from_its_own_folder_and_may_name_addresses(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.png", "out/2.png")
    listed = tmp_path / "in" / "list.txt"
    whole = str(tmp_path / "in" / "a" / "1.png")
    listed.write_text("\n".join(["# two", "", "a/1.png", "../out/2.png", whole, "https://host.example/c/3.png?sig=secret", "missing.png"]))
    found = items_of(str(listed), "line-1")
    assert [item.external_id for item in found[:1] + found[2:]] == [
        "line-1/a/1.png", "line-1/a/1.png", "line-1/host.example/c/3.png", "line-1/missing.png",
    ]  # fmt: skip
    assert found[1].external_id.endswith("/out/2.png")
    assert found[1].path == tmp_path / "out" / "2.png"


def test_standard_input_is_a_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("./a/1.png\n"))
    assert ids("-") == [("a", "a/1.png")]


def test_an_address_is_known_by_host_and_path_and_shown_without_its_secrets() -> None:
    url = "https://user:word@host.example:8443/a%20b/1.png?X-Signature=secret"
    assert of_url(url, None).external_id == "host.example/a b/1.png"
    assert of_url(url, "line-1").external_id == "line-1/host.example/a b/1.png"
    assert without_secrets(url) == of_url(url, None).name == "https://host.example:8443/a%20b/1.png"
    assert of_url("http://[::1/x.png", "line-1").source == "line-1", "an address that nobody can read ends no list"


def test_a_name_that_is_no_text_has_an_id_all_the_same(tmp_path: Path) -> None:
    for name in (b"\xff.png", b"\xfe.png"):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    found = items_of(str(tmp_path), "line-1")
    assert len({item.external_id.encode() for item in found}) == 2
    assert all(item.name.encode() for item in found)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\xfd")
    for what in (tmp_path / "nowhere", tmp_path, tmp_path / "empty.txt", tmp_path / "binary.txt"):
        with pytest.raises(InputError) as caught:
            items_of(str(what), None)
        assert caught.value.cure
