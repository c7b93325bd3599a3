"""Image addresses: what we wrote leads back, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner

from labelwheel.errors import NotFoundError
from labelwheel.image_url import image_url, uri_of_token, uri_of_url
from labelwheel.settings import Settings

LOCAL = Settings(home=Path("/nowhere"), image_urls="local-files")
SIGNED = Settings(home=Path("/nowhere"), image_urls="signed", secret_key="key", ml_backend_public_url="https://plant.example/wheel")
URI = f"ab/{'ab' * 32}.jpg"
names = st.text(st.characters(blacklist_categories=["C"], blacklist_characters="/\\"), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(names, min_size=1, max_size=3).map("/".join))
def test_an_address_leads_back_to_its_image(uri: str) -> None:
    assert [uri_of_url(image_url(uri, settings), settings) for settings in (LOCAL, SIGNED)] == [uri, uri]


def test_addresses_are_what_the_two_sides_serve() -> None:
    assert image_url(URI, LOCAL) == f"/data/local-files/?d=images/{URI}"
    assert image_url(URI, SIGNED).startswith("https://plant.example/wheel/images/")


def test_label_studio_may_have_put_its_address_before_it() -> None:
    assert uri_of_url(f"https://studio.example/prefix{image_url(URI, LOCAL)}", LOCAL) == URI


@given(st.data())
def test_no_change_of_a_token_passes(data: st.DataObject) -> None:
    token = image_url(URI, SIGNED).rsplit("/", 1)[1]
    place = data.draw(st.integers(0, len(token) - 2))  # the last character's low bits are padding of base64
    other = data.draw(st.sampled_from("abcXYZ019-_.").filter(lambda character: character != token[place]))
    forged = token[:place] + other + token[place + 1 :]
    with pytest.raises(NotFoundError):
        uri_of_token(forged, SIGNED)
    assert uri_of_url(f"https://plant.example/wheel/images/{forged}", SIGNED) is None


def test_a_token_of_another_key_is_not_ours() -> None:
    other = SIGNED.model_copy(update={"secret_key": Settings(secret_key="other").secret_key})
    assert uri_of_url(image_url(URI, other), SIGNED) is None


def test_a_token_lapses(monkeypatch: pytest.MonkeyPatch) -> None:
    token = image_url(URI, SIGNED).rsplit("/", 1)[1]
    late = TimestampSigner("x").get_timestamp() + SIGNED.image_url_days * 24 * 3600 + 2
    monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _self: late)
    with pytest.raises(NotFoundError, match="lapsed"):
        uri_of_token(token, SIGNED)


@pytest.mark.parametrize(
    "path", ["images/../../secrets.env", "images/ab/../../x", "images/..", "images", "images/", "../images/x", "/images/x", "models/x", ""]
)
def test_a_path_that_leads_out_of_the_images_is_not_ours(path: str) -> None:
    assert uri_of_url(f"/data/local-files/?d={quote(path)}", LOCAL) is None


@pytest.mark.parametrize(
    "url",
    ["https://elsewhere.example/cat.jpg", "s3://bucket/images/cat.jpg", "/data/upload/7/cat.jpg", "data:image/png;base64,AA", "", "//["],
)
def test_a_strangers_address_is_not_ours(url: str) -> None:
    assert [uri_of_url(url, settings) for settings in (LOCAL, SIGNED)] == [None, None]


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert uri_of_url(text, LOCAL) is None
