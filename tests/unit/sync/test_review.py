"""Labels out of the mirror: whatever order the revisions come in, the same labels follow."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.label_config import parse
from sync.review import Derived, Revision, derive, outcome
from tests.fixtures.label_studio import LABEL_CONFIG

TAGS = parse(LABEL_CONFIG)
START = datetime(2026, 11, 23, tzinfo=UTC)
WIDTH, HEIGHT = 200, 100


def region(x: float = 10, label: str = "open", **changes: Any) -> dict[str, Any]:
    value = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0, "rectanglelabels": [label]}
    return {
        "id": f"r{x}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "value": value,
        "origin": "manual",
        **changes,
    }


def revision(number: int, seconds: int = 0, annotation: str = "a", **changes: Any) -> Revision:
    given = {"annotator": "anna", "was_cancelled": False, "deleted_at": None, "result": [region()]}
    return Revision(**{"id": number, "unique_id": annotation, "updated_at": START + timedelta(seconds=seconds), **given, **changes})


def labels(*revisions: Revision) -> list[Derived]:
    return derive(revisions, TAGS, WIDTH, HEIGHT)


@st.composite
def mirrors(draw: st.DrawFn) -> list[Revision]:
    """What a mirror may hold: annotations with a few revisions each; a deletion marks all of an annotation's."""
    found: list[Revision] = []
    for annotation in draw(st.lists(st.sampled_from("abc"), unique=True)):
        deleted = draw(st.none() | st.integers(60, 90).map(lambda seconds: START + timedelta(seconds=seconds)))
        for seconds in draw(st.lists(st.integers(0, 50), unique=True, min_size=1, max_size=4)):
            regions = draw(st.lists(st.floats(0, 90).map(region), max_size=2))
            skipped = draw(st.booleans())
            found.append(revision(len(found), seconds, annotation, deleted_at=deleted, was_cancelled=skipped, result=regions))
    return found


@given(mirrors(), st.randoms())
def test_the_order_in_which_revisions_come_does_not_matter(mirror: list[Revision], random: Any) -> None:
    shuffled = list(mirror)
    random.shuffle(shuffled)
    assert labels(*shuffled) == labels(*mirror)
    assert outcome(shuffled) == outcome(mirror)


@given(mirrors())
def test_every_submitted_revision_is_a_label_and_no_skipped_one(mirror: list[Revision]) -> None:
    assert {label.revision_id for label in labels(*mirror)} == {one.id for one in mirror if not one.was_cancelled}


@given(mirrors())
def test_one_label_at_most_is_in_force_and_it_is_the_newest_that_stands(mirror: list[Revision]) -> None:
    derived = labels(*mirror)
    standing = [label for label in derived if label.withdrawn_at is None]
    in_force = [label for label in standing if label.superseded_by is None]
    assert in_force == sorted(standing, key=lambda label: (label.annotated_at, label.revision_id))[-1:]


@given(mirrors())
def test_an_approved_item_has_a_label_in_force_and_no_other_has(mirror: list[Revision]) -> None:
    in_force = [label for label in labels(*mirror) if label.withdrawn_at is None and label.superseded_by is None]
    assert (outcome(mirror) == "approved") == bool(in_force)


@given(mirrors())
def test_what_supersedes_is_a_later_label_that_stands(mirror: list[Revision]) -> None:
    derived = {label.revision_id: label for label in labels(*mirror)}
    for label in derived.values():
        if label.superseded_by is not None:
            successor = derived[label.superseded_by]
            assert successor.withdrawn_at is None
            assert (successor.annotated_at, successor.revision_id) > (label.annotated_at, label.revision_id)


def counting(*revisions: Revision) -> list[int]:
    """Revisions whose label is in force."""
    return [label.revision_id for label in labels(*revisions) if label.withdrawn_at is None and label.superseded_by is None]


@given(mirrors(), mirrors())
def test_what_a_person_said_outranks_what_a_dataset_brought_whenever_that_was(people: list[Revision], mirror: list[Revision]) -> None:
    brought = [replace(one, id=one.id + 100, unique_id=f"import:{one.unique_id}", imported=True) for one in mirror]
    assert counting(*people, *brought) == (counting(*people) or counting(*brought))


def test_an_edit_supersedes() -> None:
    first, second = labels(revision(1), revision(2, 5, result=[region(50)]))
    assert (first.superseded_by, second.superseded_by) == (2, None)
    assert [box["box"][0] for box in (*first.boxes, *second.boxes)] == [20, 100]


def test_each_label_points_to_the_next_that_stands() -> None:
    gone = START + timedelta(seconds=20)
    chain = labels(revision(1), revision(2, 5), revision(3, 7, "b", deleted_at=gone), revision(4, 9))
    assert [label.superseded_by for label in chain] == [2, 4, 4, None]


def test_the_newest_of_two_persons_wins() -> None:
    first, second = labels(revision(2, 9, "b", annotator="bert"), revision(1, 3, "a"))
    assert (first.annotator, first.superseded_by) == ("anna", 2)
    assert (second.annotator, second.superseded_by) == ("bert", None)


def test_a_deleted_annotation_is_withdrawn_and_the_other_one_stands_again() -> None:
    gone = START + timedelta(seconds=20)
    first, second = labels(revision(1), revision(2, 5, "b", deleted_at=gone))
    assert (first.superseded_by, first.withdrawn_at) == (None, None)
    assert second.withdrawn_at == gone
    assert outcome([revision(1, deleted_at=gone)]) == "pushed"


def test_a_submission_that_was_skipped_later_is_withdrawn() -> None:
    (label,) = labels(revision(1), revision(2, 5, was_cancelled=True))
    assert label.withdrawn_at == START + timedelta(seconds=5)
    assert outcome([revision(1), revision(2, 5, was_cancelled=True)]) == "skipped"


def test_a_skip_alone_is_no_label() -> None:
    assert labels(revision(1, was_cancelled=True)) == []
    assert outcome([revision(1, was_cancelled=True)]) == "skipped"


def test_an_empty_annotation_is_a_label_without_boxes() -> None:
    (label,) = labels(revision(1, result=[]))
    assert (label.boxes, label.exclusions, label.superseded_by, label.withdrawn_at) == ([], [], None, None)
    assert outcome([revision(1, result=[])]) == "approved"


def test_a_region_that_cannot_be_trained_on_is_kept_with_its_reason() -> None:
    (label,) = labels(revision(1, result=[region(), region(50, label="unheard-of")]))
    assert [box["label"] for box in label.boxes] == ["open"]
    assert label.exclusions == [{"region_id": "r50", "reason": "unknown label 'unheard-of'"}]


def test_nothing_mirrored_is_nothing_said() -> None:
    assert labels() == []
    assert outcome([]) == "pushed"
