"""`data:` URIs."""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import ImageError
from labelwheel.resolver.inline import read_inline


@given(st.binary(max_size=200))
def test_bytes_come_back_however_they_are_written(data: bytes) -> None:
    encoded = b64encode(data).decode()
    assert read_inline(f"data:image/png;base64,{encoded}", 1000) == data
    assert read_inline(f"DATA:;BASE64,{quote(encoded, safe='')}", 1000) == data
    assert read_inline(f"data:image/png,{quote(data)}", 1000) == data


@pytest.mark.parametrize("uri", ["data:", "data:image/png;base64", "data:;base64,AAA", "data:;base64,A", "data:,\ud800"])
def test_a_broken_one_is_refused(uri: str) -> None:
    with pytest.raises(ImageError):
        read_inline(uri, 1000)


def test_a_long_one_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageError, match="more than 10 bytes"):
        read_inline("data:;base64," + "A" * 41, 10)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    with suppress(ImageError):
        read_inline(f"data:{text}", 1000)
