"""Somebody's classes against our labels: by rename, by name, by case; and nothing is guessed beyond that."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import InputError
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_match import Matching, Vocabulary, drawable, match_classes, parse_renames, vocabularies
from labelwheel.vision.label_config import ControlTag, parse

LABELS = ("open", "short", "spur")
OURS = Vocabulary(LABELS)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6)


def how(matching: Matching) -> list[tuple[str, str | None, str]]:
    return [(match.name, match.label, match.how) for match in matching.matches]


def test_names_match_by_name_then_by_case_and_renames_come_first() -> None:
    matching = match_classes(["Short", "open", "hole", "dust"], OURS, {"hole": "spur", "dust": ""})
    assert how(matching) == [("Short", "short", "case"), ("open", "open", "same"), ("hole", "spur", "renamed"), ("dust", None, "ignored")]
    assert matching.groups == {"open": [1], "short": [0], "spur": [2]}
    assert (matching.unknown, matching.missing) == ([], [])
    matching.demand()


def test_the_table_shows_what_is_missing_unknown_or_in_another_place() -> None:
    rows = match_classes(["short", "open", "car"], OURS).rows()
    assert [row["how"] for row in rows] == ["same, other place", "same, other place", "unknown", "missing"]
    assert rows[-1] == {"class": "", "label": "spur", "how": "missing"}


def test_a_class_that_is_no_label_is_refused_with_the_ways_out() -> None:
    with pytest.raises(InputError, match="'car'") as caught:
        match_classes(["open", "car"], OURS).demand()
    assert all(way in caught.value.cure for way in ("--map", "--ignore-others", "labelwheel connect"))
    match_classes(["open", "car"], OURS, ignore_others=True).demand()


def test_a_model_without_any_of_our_labels_is_refused() -> None:
    with pytest.raises(InputError, match="None of its classes"):
        match_classes(["car", "cat"], OURS, ignore_others=True).demand()


def test_a_case_that_fits_two_labels_is_not_guessed() -> None:
    assert how(match_classes(["OPEN"], Vocabulary(("open", "Open")))) == [("OPEN", None, "unknown")]


@pytest.mark.parametrize(("renames", "message"), [({"car": "open"}, "no class there"), ({"open": "car"}, "no label")])
def test_renames_of_what_does_not_exist_are_refused(renames: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        match_classes(["open"], OURS, renames)


def test_renames_are_read_from_a_command_line() -> None:
    assert parse_renames(["a=b", " c d = e ", "f="]) == {"a": "b", "c d": "e", "f": ""}
    for bad in ("a", "=b"):
        with pytest.raises(InputError, match="CLASS=LABEL"):
            parse_renames([bad])


def test_only_labels_that_can_be_drawn_today_count() -> None:
    assert drawable([ControlTag("RectangleLabels", "label", "image", "image", ("spur", "open"))], ClassMap(tuple(LABELS))) == (
        "open",
        "spur",
    )
    renamed = ClassMap(("gap", "short", "spur"), {1: None}, {"open": 0})
    assert drawable([ControlTag("RectangleLabels", "label", "image", "image", ("spur", "open", "short"))], renamed) == ("gap", "spur")


@given(st.lists(names, unique=True, min_size=1), st.lists(names, unique=True, min_size=1), st.booleans())
def test_every_class_is_accounted_for_once(classes: list[str], labels: list[str], ignore_others: bool) -> None:
    matching = match_classes(classes, Vocabulary(tuple(labels)), ignore_others=ignore_others)
    grouped = [class_id for ids in matching.groups.values() for class_id in ids]
    left_out = [class_id for class_id, match in enumerate(matching.matches) if match.label is None]
    assert sorted(grouped + left_out) == list(range(len(classes)))
    assert list(matching.groups) == [label for label in labels if label not in matching.missing]
    assert not (ignore_others and matching.unknown)
    assert all(match.label == match.name for match in matching.matches if match.name in labels)


def test_an_open_vocabulary_lets_a_class_keep_its_name() -> None:
    matching = match_classes(["Good", "scrap", "dust", "hair"], Vocabulary(("good",), closed=False), {"dust": "", "hair": "fibre"})
    assert how(matching) == [("Good", "good", "case"), ("scrap", "scrap", "kept"), ("dust", None, "ignored"), ("hair", "fibre", "renamed")]
    assert matching.groups == {"good": [0], "scrap": [1], "fibre": [3]}
    matching.demand()


CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="open"/><Label value="spur"/></RectangleLabels>
<RectangleLabels name="body" toName="image" model="pose"><Label value="body" predicted_values="person, rider"/></RectangleLabels>
<KeyPointLabels name="ends" toName="image" model="pose"><Label value="nose" predicted_values="dog"/></KeyPointLabels>
<Choices name="grade" toName="image" model="grade"><Choice value="good"/></Choices></View>"""


def test_a_model_is_matched_with_the_tags_that_can_show_it() -> None:
    tags = parse(CONFIG)
    champion, pose, grade = (vocabularies(tags, name, ClassMap(tuple(LABELS))) for name in ("", "pose", "grade"))
    assert champion["detect"] == Vocabulary(("open", "spur"))
    assert champion["segment"] == Vocabulary(("open", "spur"), closed=False)
    assert pose["pose"] == Vocabulary(("body", "person", "rider", "dog"), closed=False)
    assert (grade["classify"].labels, grade["detect"].labels) == (("good",), ())
