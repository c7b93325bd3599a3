from __future__ import annotations

import pytest

from labelwheel.errors import LabelStudioError, LabelStudioUnreachable
from labelwheel.labelstudio.connection import CURE_ACCESS, CURE_SSRF, Connection, explain, refusal


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"detail": "Not found."}, "Not found."),
        ({"detail": "Validation error", "validation_errors": {"url": ["bad", "worse"], "x": "y"}}, "url: bad worse; x: y"),
        ({"detail": "Bad", "validation_errors": {}}, "Bad"),
        ("<!DOCTYPE html><html>…", "a page of HTML"),
        ("two\n  lines", "two lines"),
        (None, "None"),
    ],
)
def test_a_refusal_is_one_short_line(body: object, said: str) -> None:
    assert explain(body) == said


def test_a_long_page_is_cut() -> None:
    assert len(explain("x" * 10_000)) == 500


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_without_label_studio_counts_as_unreachable(status: int) -> None:
    assert isinstance(refusal(status, "Bad gateway"), LabelStudioUnreachable)


def test_a_refused_token_names_its_setting() -> None:
    error = refusal(401, {"detail": "Invalid token."})
    assert not isinstance(error, LabelStudioUnreachable)
    assert error.cure == CURE_ACCESS
    assert "LABELWHEEL_LABEL_STUDIO_TOKEN" in error.cure


def test_the_guard_of_private_addresses_is_told_from_other_refusals() -> None:
    blocked = refusal(403, {"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"})
    assert blocked.cure == CURE_SSRF
    assert refusal(403, {"detail": "Forbidden"}).cure != CURE_SSRF


def test_a_missing_token_is_said_before_anything_is_sent() -> None:
    with pytest.raises(LabelStudioError, match="no token"):
        Connection("http://127.0.0.1:9", "").read("api/version")


def test_a_label_studio_that_was_never_started_is_said_at_once() -> None:
    with pytest.raises(LabelStudioError, match="nothing is started here") as refused:
        Connection("", "token").read("api/version")
    assert not isinstance(refused.value, LabelStudioUnreachable), "nothing is gained by asking again"
    assert "labelwheel up" in refused.value.cure
