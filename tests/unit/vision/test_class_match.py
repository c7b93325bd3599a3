"""Somebody's classes against our labels: by rename, by name, by case; and nothing is guessed beyond that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import InputError
from labelwheel.vision.class_match import Matching, drawable, match_classes, parse_renames
from labelwheel.vision.label_config import ControlTag

LABELS = ("open", "short", "spur")
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)


def how(matching: Matching) -> list[tuple[str, str | None, str]]:
    return [(match.name, match.label, match.how) for match in matching.matches]


def test_names_match_by_name_then_by_case_and_renames_come_first() -> None:
    matching = match_classes(["Short", "open", "hole", "dust"], LABELS, {"hole": "spur", "dust": ""})
    assert how(matching) == [("Short", "short", "case"), ("open", "open", "same"), ("hole", "spur", "renamed"), ("dust", None, "ignored")]
    assert matching.groups == {"open": [1], "short": [0], "spur": [2]}
    assert (matching.unknown, matching.missing) == ([], [])
    matching.demand()


def test_the_table_shows_what_is_missing_unknown_or_in_another_place() -> None:
    rows = match_classes(["short", "open", "car"], LABELS).rows()
    assert [row["how"] for row in rows] == ["same, other place", "same, other place", "unknown", "missing"]
    assert rows[-1] == {"class": "", "label": "spur", "how": "missing"}


def test_a_class_that_is_no_label_is_refused_with_the_ways_out() -> None:
    with pytest.raises(InputError, match="'car'") as caught:
        match_classes(["open", "car"], LABELS).demand()
    assert all(way in caught.value.cure for way in ("--map", "--ignore-others", "labelwheel connect"))
    match_classes(["open", "car"], LABELS, ignore_others=True).demand()


def test_a_model_without_any_of_our_labels_is_refused() -> None:
    with pytest.raises(InputError, match="None of its classes"):
        match_classes(["car", "cat"], LABELS, ignore_others=True).demand()


def test_a_case_that_fits_two_labels_is_not_guessed() -> None:
    assert how(match_classes(["OPEN"], ("open", "Open"))) == [("OPEN", None, "unknown")]


@pytest.mark.parametrize(("renames", "message"), [({"car": "open"}, "no class there"), ({"open": "car"}, "no label")])
def test_renames_of_what_does_not_exist_are_refused(renames: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_classes(["open"], LABELS, renames)


def test_renames_are_read_from_a_command_line() -> None:
    assert parse_renames(["a=b", " c d = e ", "f="]) == {"a": "b", "c d": "e", "f": ""}
    for bad in ("a", "=b"):
        with pytest.raises(InputError, match="CLASS=LABEL"):
            parse_renames([bad])


def test_only_labels_that_can_be_drawn_today_count() -> None:
    assert drawable([ControlTag("RectangleLabels", "label", "image", "image", ("spur", "open"))], LABELS) == ("open", "spur")


@given(st.lists(names, unique=True, min_size=1), st.lists(names, unique=True, min_size=1), st.booleans())
def test_every_class_is_accounted_for_once(classes: list[str], labels: list[str], ignore_others: bool) -> None:
    matching = match_classes(classes, labels, ignore_others=ignore_others)
    grouped = [class_id for ids in matching.groups.values() for class_id in ids]
    left_out = [class_id for class_id, match in enumerate(matching.matches) if match.label is None]
    assert sorted(grouped + left_out) == list(range(len(classes)))
    assert list(matching.groups) == [label for label in labels if label not in matching.missing]
    assert not (ignore_others and matching.unknown)
    assert all(match.label == match.name for match in matching.matches if match.name in labels)
