"""Addresses of images: five kinds are read, and whatever could be read in two ways is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import AddressRefused
from labelwheel.resolver.address import Bucket, Inline, LocalFile, Web, read_address, read_text, read_url, shown

STUDIO = "http://127.0.0.1:8080"


def test_the_five_kinds() -> None:
    assert read_address("data:image/png;base64,AA==", STUDIO) == Inline("data:image/png;base64,AA==")
    assert read_address("s3://bucket/line 1/ä.jpg", STUDIO) == Bucket("s3://bucket/line 1/ä.jpg")
    assert read_address("https://Images.Example/a.jpg?x=1#part", STUDIO) == Web(read_url("https://images.example/a.jpg?x=1"))
    upload = read_address("/data/upload/7/ab-cat.jpg", STUDIO)
    assert upload == Web(read_url(f"{STUDIO}/data/upload/7/ab-cat.jpg"))
    local = read_address("/data/local-files/?d=line%201/cat.jpg", STUDIO)
    assert isinstance(local, LocalFile)
    assert (local.path, str(local.url)) == ("line 1/cat.jpg", f"{STUDIO}/data/local-files/?d=line%201/cat.jpg")


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("S3://b/k", "s3://b/k"),
        ("s3a://b/k", "s3://b/k"),
        ("gcs://b/k", "gs://b/k"),
        ("azure-blob://b/k", "az://b/k"),
        ("azure://b/k", "az://b/k"),
    ],
)
def test_a_bucket_has_one_name_for_its_kind(uri: str, canonical: str) -> None:
    assert read_address(uri, STUDIO) == Bucket(canonical)


def test_label_studio_may_live_below_a_path() -> None:
    for path in ("/data/upload/7/cat.jpg", "/studio/data/upload/7/cat.jpg"):
        address = read_address(path, "https://plant.example/studio")
        assert isinstance(address, Web)
        assert str(address.url) == "https://plant.example/studio/data/upload/7/cat.jpg"


@pytest.mark.parametrize("value", [None, "", 7, ["/data/upload/a.jpg"], {"url": "x"}, b"http://a/b", "http://a/\ud800"])
def test_what_is_no_text_is_no_address(value: object) -> None:
    with pytest.raises(AddressRefused, match="no address"):
        read_text(value)


REFUSED = [
    # other ways to read something
    "file:///etc/passwd", "FILE:///etc/passwd", "file://localhost/etc/passwd", "ftp://a/b", "gopher://a/b", "dict://a/b", "javascript:alert(1)",
    "http+unix://%2Fvar%2Frun%2Fx/", "jar:http://a/b!/c", "blob:http://a/b", "memory://x", "local://x", "https+s3://b/k",
    # not complete
    "cat.jpg", "../cat.jpg", "//images.example/cat.jpg", "/\\images.example/cat.jpg", "\\\\images.example\\cat.jpg", "http:/a/b", "http:a/b",
    "http://", "http:///a", "https://?x", "?d=a", "#",
    # user names, and what two parsers read differently
    "http://user@images.example/", "http://user:password@images.example/", "http://@images.example/", "http://:@images.example/",
    "http://images.example\\@127.0.0.1/", "http://127.0.0.1\\@images.example/", "http://images.example\\.evil.example/", "http://a%40b/",
    # hosts in disguise
    "http://2130706433/", "http://0x7f000001/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://127.0.1/", "http://1/",
    "http://127.0.0.1./", "http://images.example./", "http://images.example../", "http://%31%32%37.0.0.1/", "http://[::1%25lo]/",
    "http://[fe80::1%eth0]/", "http://[::1/", "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://a b/", "http://-/", "http://.example/",
    "http://127.0.0.0x1/", "http://127.0.0.1.0x/",
    # ports
    "http://images.example:0/", "http://images.example:65536/", "http://images.example:99999/", "http://images.example:-1/",
    "http://images.example:80:80/", "http://images.example:８０/",
    # header injection
    "http://images.example/\r\nHost: evil", "http://images.example/\n", "http://images.example\r\n/", "http://images.example/\x00", "\thttp://a/",
    "http://images.example/\x7f", "/data/upload/a\r\nX: y", "s3://bucket/a\nb",
    # ways out of a folder
    "https://images.example/a/%2e%2e/b", "https://images.example/a/..%2fb", "https://images.example/a/%2e%2e%2f%2e%2e%2fb",
    "https://images.example/a/..%5cb", "/data/%2e%2e/api/x",
    "/data/local-files/?d=../secrets.env", "/data/local-files/?d=a/../../b", "/data/local-files/?d=%2e%2e/b", "/data/local-files/?d=a%2f..%2fb",
    "/data/local-files/?d=..%5cb", "/data/local-files/?d=a%00b", "/data/local-files/?d=", "/data/local-files/?d=/",
    # buckets
    "s3://bucket", "s3://bucket/", "s3:///key", "s3://user@bucket/key", "s3://bucket/a/../b", "s3://bucket/%2e%2e/b", "s3://b*/k",
    "s3://bucket/a::http://127.0.0.1/x", "simplecache::s3://bucket/a", "az://container@evil.dfs.core.windows.net/x", "abfs://c@a.example/x",
    "s3://127.0.0.1:9000/key",
    # too long
    "http://images.example/" + "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:60]))
def test_what_could_be_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(AddressRefused):
        read_address(text, STUDIO)


@given(st.text() | st.text(st.sampled_from("htps:/@.\\[]%?#d=0x17f&\r\n az")).map(lambda tail: f"http://{tail}"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        address = read_address(text, STUDIO)
    except AddressRefused:
        return
    if isinstance(address, Web | LocalFile):
        assert address.url.scheme in ("http", "https")
        assert address.url.host
        assert not address.url.userinfo
        assert read_url(str(address.url)) == address.url, "the same text must be read the same again"


@given(st.text(max_size=300))
def test_what_is_shown_is_one_line_without_a_query(text: str) -> None:
    line = shown(f"https://user:secret@images.example/a?signature={text}")
    assert line == "https://images.example/a"
    assert "\n" not in shown(text)
    assert "\r" not in shown(text)
