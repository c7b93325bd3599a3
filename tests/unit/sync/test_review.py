"""Labels out of the mirror: whatever order the revisions come in, the same labels follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import SettingsError
from labelwheel.vision.label_config import parse
from sync.review.approve import parse_policy
from sync.review.derive import OPEN, DerivedLabel, Outcome, Revision, Verdict, derive
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
    given = {"annotator": "anna", "was_cancelled": False, "deleted_at": None, "result": [region()], "key": "task"}
    return Revision(**{"id": number, "unique_id": annotation, "updated_at": START + timedelta(seconds=seconds), **given, **changes})


def seen(*revisions: Revision, verdicts: Sequence[Verdict] = (), policy: str = "submit") -> Outcome:
    return derive(revisions, verdicts, parse_policy(policy), TAGS, (WIDTH, HEIGHT))


def labels(*revisions: Revision, **told: Any) -> list[DerivedLabel]:
    return seen(*revisions, **told).labels


def status(*revisions: Revision, key: str = "task", **told: Any) -> str:
    return seen(*revisions, **told).standings.get(key, OPEN).status


def verdict(number: int, kind: str, of: Revision, who: str = "rita", why: str = "because") -> Verdict:
    return Verdict(number, of.unique_id, of.updated_at, kind, who, why, START + timedelta(seconds=100 + number))


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
    assert seen(*shuffled) == seen(*mirror)


@given(mirrors())
def test_every_state_that_was_submitted_is_a_label_and_no_skipped_one(mirror: list[Revision]) -> None:
    told = {(one.unique_id, str(one.result)) for one in mirror if not one.was_cancelled}
    by_id = {one.id: one for one in mirror}
    found = [by_id[label.revision_id] for label in labels(*mirror)]
    assert not any(one.was_cancelled for one in found)
    assert {(one.unique_id, str(one.result)) for one in found} == told


@given(mirrors())
def test_one_label_at_most_is_in_force_and_it_is_the_newest_that_stands(mirror: list[Revision]) -> None:
    derived = labels(*mirror)
    standing = [label for label in derived if label.withdrawn_at is None]
    in_force = [label for label in standing if label.superseded_by is None]
    assert in_force == sorted(standing, key=lambda label: (label.annotated_at, label.revision_id))[-1:]


@given(mirrors())
def test_an_approved_item_has_a_label_in_force_and_no_other_has(mirror: list[Revision]) -> None:
    in_force = [label for label in labels(*mirror) if label.withdrawn_at is None and label.superseded_by is None]
    assert (status(*mirror) == "approved") == bool(in_force)


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
    boxes = [[region(x)] for x in (10, 20, 30, 40)]
    chain = labels(
        revision(1, result=boxes[0]),
        revision(2, 5, result=boxes[1]),
        revision(3, 7, "b", deleted_at=gone, result=boxes[2]),
        revision(4, 9, result=boxes[3]),
    )
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
    assert status(revision(1, deleted_at=gone)) == "pushed"


def test_a_submission_that_was_skipped_later_is_withdrawn() -> None:
    (label,) = labels(revision(1), revision(2, 5, was_cancelled=True))
    assert label.withdrawn_at == START + timedelta(seconds=5)
    assert status(revision(1), revision(2, 5, was_cancelled=True)) == "skipped"


def test_a_skip_alone_is_no_label() -> None:
    assert labels(revision(1, was_cancelled=True)) == []
    assert status(revision(1, was_cancelled=True)) == "skipped"


def test_an_empty_annotation_is_a_label_without_boxes() -> None:
    (label,) = labels(revision(1, result=[]))
    assert (label.boxes, label.exclusions, label.superseded_by, label.withdrawn_at) == ([], [], None, None)
    assert status(revision(1, result=[])) == "approved"


def test_a_region_that_cannot_be_trained_on_is_kept_with_its_reason() -> None:
    (label,) = labels(revision(1, result=[region(), region(50, label="unheard-of")]))
    assert [box["label"] for box in label.boxes] == ["open"]
    assert label.exclusions == [{"region_id": "r50", "reason": "unknown label 'unheard-of'"}]


def test_nothing_mirrored_is_nothing_said() -> None:
    assert labels() == []
    assert status() == "pushed"


# what a state is


def test_a_touch_that_changes_nothing_makes_no_other_label_and_keeps_its_author() -> None:
    (label,) = labels(revision(1), revision(2, 5, annotator="rita", starred=True))
    assert (label.revision_id, label.annotator, label.annotated_at) == (1, "anna", START)


def test_who_changes_an_annotation_is_the_author_of_what_stands() -> None:
    first, second = labels(revision(1), revision(2, 5, annotator="bert", result=[region(50)]))
    assert (first.annotator, second.annotator, first.superseded_by) == ("anna", "bert", 2)


def test_a_label_that_came_through_our_api_has_the_author_that_it_named() -> None:
    ours = revision(1, annotator="token@plant.example")
    (label,) = labels(ours, revision(2, 5, annotator="token@plant.example", starred=True), verdicts=[verdict(1, "submitted", ours, "carl")])
    assert label.annotator == "carl"


def test_what_was_taken_back_by_a_restored_server_is_withdrawn_and_what_stood_before_stands_again() -> None:
    first, second = labels(revision(1), revision(2, 5, result=[region(50)], deleted_at=START + timedelta(seconds=9)))
    assert (first.withdrawn_at, first.superseded_by) == (None, None)
    assert second.withdrawn_at is not None


# verdicts


def test_a_verdict_binds_the_state_that_it_was_given_of_and_no_later_one() -> None:
    before, after = revision(1), revision(2, 5, result=[region(50)])
    rejected = [verdict(1, "rejected", before)]
    assert status(before, verdicts=rejected) == "rejected"
    assert [bool(label.approved_at) for label in labels(before, after, verdicts=rejected)] == [False, True]
    assert status(before, after, verdicts=rejected) == "approved"


def test_a_star_does_not_shake_a_verdict_off() -> None:
    before, starred = revision(1), revision(2, 5, starred=True)
    assert labels(before, starred, verdicts=[verdict(1, "rejected", before)])[0].approved_at is None
    (label,) = labels(before, starred, verdicts=[verdict(1, "approved", before)], policy="explicit")
    assert (label.approved_by, label.approved_at) == ("rita", START + timedelta(seconds=101))


def test_of_two_verdicts_the_later_one_counts() -> None:
    mine = revision(1)
    both = [verdict(1, "rejected", mine), verdict(2, "approved", mine, "boss")]
    assert (labels(mine, verdicts=both)[0].approved_by, status(mine, verdicts=both)) == ("boss", "approved")
    assert labels(mine, verdicts=[*both, verdict(3, "flagged", mine)])[0].approved_at is None
    assert status(mine, verdicts=[*both, verdict(3, "flagged", mine)]) == "labeled"


def test_a_withdrawn_annotation_does_not_count_and_an_earlier_state_of_it_does_not_stand_again() -> None:
    before, after = revision(1), revision(2, 5, result=[region(50)])
    out = [verdict(1, "withdrawn", after)]
    assert [label.withdrawn_at is None for label in labels(before, after, verdicts=out)] == [False, False]
    assert status(before, after, verdicts=out) == "rejected"
    assert [label.withdrawn_at is None for label in labels(before, after, verdicts=[*out, verdict(2, "reinstated", after)])] == [True, True]


def test_after_a_withdrawal_somebodys_edit_counts_again_and_so_does_another_annotation() -> None:
    bad, mended = revision(1), revision(2, 5, annotator="bert", result=[region(50)])
    out = [verdict(1, "withdrawn", bad)]
    assert [label.withdrawn_at is None for label in labels(bad, mended, verdicts=out)] == [False, True]
    other = revision(3, 1, "b", annotator="bert", result=[region(30)])
    assert [(one.revision_id, one.superseded_by) for one in labels(bad, other, verdicts=out) if one.withdrawn_at is None] == [(3, None)]


# policies


@st.composite
def policies(draw: st.DrawFn) -> str:
    return draw(st.sampled_from(["submit", "trusted:anna", "star", "explicit", "choice:review=accepted", "agree:2@0.5", "agree:3@0.9"]))


@st.composite
def reviewed(draw: st.DrawFn) -> tuple[list[Revision], list[Verdict]]:
    """A mirror of several annotators, two tasks, stars and verdicts."""
    mirror = [
        replace(
            one,
            annotator=draw(st.sampled_from(["anna", "bert", "carl"])),
            starred=draw(st.booleans()),
            key=f"task-{one.unique_id > 'a'}",
        )
        for one in draw(mirrors())
    ]
    of = draw(st.lists(st.sampled_from(mirror), max_size=4)) if mirror else []
    kinds = st.sampled_from(["approved", "rejected", "flagged", "withdrawn", "reinstated", "submitted"])
    return mirror, [verdict(number, draw(kinds), one) for number, one in enumerate(of)]


@given(reviewed(), policies(), st.randoms())
def test_whatever_the_policy_order_does_not_matter_and_one_approved_label_at_most_is_in_force(
    told: tuple[list[Revision], list[Verdict]], policy: str, random: Any
) -> None:
    mirror, verdicts = told
    found = seen(*mirror, verdicts=verdicts, policy=policy)
    shuffled, said = list(mirror), list(verdicts)
    random.shuffle(shuffled)
    random.shuffle(said)
    assert seen(*shuffled, verdicts=said, policy=policy) == found
    in_force = [one for one in found.labels if one.approved_at and one.withdrawn_at is None and one.superseded_by is None]
    assert len(in_force) <= 1
    annotation = {one.id: one.unique_id for one in mirror}
    states = {label.revision_id: annotation[label.revision_id] for label in found.labels if label.withdrawn_at is None}
    newest = {unique_id: revision_id for revision_id, unique_id in states.items()}  # labels come oldest first
    assert bool(in_force) == any(label.approved_at for label in found.labels if label.revision_id in newest.values())


def test_trusted_annotators_count_at_once_and_others_wait_without_standing_in_their_way() -> None:
    trusted, other = revision(1, annotator="anna"), revision(2, 9, "b", annotator="bert", result=[region(50)])
    first, second = labels(trusted, other, policy="trusted:anna,rita")
    assert (first.approved_by, first.superseded_by, second.approved_at) == ("anna", None, None)
    assert status(trusted, policy="trusted:anna") == "approved"
    assert status(other, policy="trusted:anna") == "labeled"
    assert status(revision(1, annotator="Anna@Plant.example"), policy="trusted:anna@plant.EXAMPLE") == "approved"


def test_an_edit_after_approval_waits_for_its_own() -> None:
    before, after = revision(1), revision(2, 5, annotator="bert", result=[region(50)])
    first, second = labels(before, after, policy="trusted:anna")
    assert (first.superseded_by, second.approved_at) == (2, None)
    assert status(before, after, policy="trusted:anna") == "labeled"


def test_a_star_approves_from_when_it_was_given_until_it_is_taken() -> None:
    plain, starred, taken = revision(1), revision(2, 5, annotator="rita", starred=True), revision(3, 9)
    (label,) = labels(plain, starred, policy="star")
    assert (label.approved_at, label.approved_by, label.annotator) == (starred.updated_at, "rita", "anna")
    assert labels(plain, starred, taken, policy="star")[0].approved_at is None


def test_a_choice_approves() -> None:
    accepted = {"id": "c", "type": "choices", "from_name": "review", "to_name": "image", "value": {"choices": ["accepted"]}}
    told = revision(1, result=[region(), accepted])
    assert labels(told, policy="choice:review=accepted")[0].approved_by == "anna"
    assert labels(told, policy="choice:review=rejected")[0].approved_at is None
    assert status(revision(1), policy="choice:review=accepted") == "labeled"
    odd = [None, {**accepted, "value": "accepted"}, {**accepted, "value": {"choices": 7}}, {**accepted, "value": {"choices": [None]}}]
    assert status(revision(1, result=[region(), *odd]), policy="choice:review=accepted") == "labeled"


def test_annotators_who_agree_make_one_label_in_the_newest_ones_place() -> None:
    anna, bert = revision(1, annotator="anna", result=[region(10)]), revision(2, 5, "b", annotator="bert", result=[region(12)])
    assert status(anna, policy="agree:2@0.5") == "labeled"
    first, second = labels(anna, bert, policy="agree:2@0.5")
    assert (first.approved_at, first.superseded_by) == (None, 2)
    assert (second.approved_by, [box["box"][0] for box in second.boxes]) == ("agree:2@0.5", [22])
    assert status(anna, bert, policy="agree:2@0.5") == "approved"


def test_annotators_who_do_not_agree_send_the_item_back_and_a_third_one_decides() -> None:
    anna, bert = revision(1, annotator="anna", result=[region(10)]), revision(2, 5, "b", annotator="bert", result=[region(60)])
    found = seen(anna, bert, policy="agree:2@0.5")
    assert (found.disputed, found.standings["task"].status) == (frozenset({"task"}), "rejected")
    carl = revision(3, 9, "c", annotator="carl", result=[region(11)], key="again")
    settled = seen(anna, bert, carl, policy="agree:2@0.5")
    assert (settled.disputed, settled.standings["again"].status, settled.standings["task"].status) == (frozenset(), "approved", "approved")
    assert [one.revision_id for one in settled.labels if one.approved_at] == [3]


def test_one_annotator_does_not_agree_with_herself() -> None:
    twice = revision(1, annotator="anna"), revision(2, 5, "b", annotator="anna")
    assert not any(label.approved_at for label in labels(*twice, policy="agree:2@0.5"))
    spelt = [revision(1, annotator="Carl@plant.example"), revision(2, 9, "b", annotator="carl@plant.example")]
    found = seen(*spelt, policy="agree:2@0.5")
    assert not any(label.approved_at for label in found.labels) and not found.disputed


def test_what_nothing_can_be_trained_on_of_is_not_taken_for_an_empty_image() -> None:
    (label,) = labels(revision(1, result=[region(label="unheard-of")]))
    assert (label.boxes, label.approved_at) == ([], None)
    assert status(revision(1, result=[region(label="unheard-of")])) == "labeled"


def test_what_a_dataset_brought_is_approved_by_every_policy_until_a_person_says_what_counts() -> None:
    brought = revision(1, 50, "import:x", annotator="import:boards", imported=True, key="import")
    (label,) = labels(brought, policy="explicit")
    assert label.approved_by == "import"
    person = revision(2, 5)
    assert [one.superseded_by for one in labels(brought, person, policy="explicit")] == [None, None]
    said = [verdict(1, "approved", person)]
    assert [one.superseded_by for one in labels(brought, person, policy="explicit", verdicts=said)] == [2, None]


@pytest.mark.parametrize(
    "text", ["submit", "star", "explicit", "trusted:anna,bert", "agree:2@0.5", "agree:3@0.75", "choice:review=accepted"]
)
def test_a_policy_is_spelt_as_it_is_read(text: str) -> None:
    assert str(parse_policy(text)) == text


@pytest.mark.parametrize("text", ["", "submit:x", "trusted:", "agree:1", "agree:2@0", "agree:2@1.5", "agree:x", "choice:a", "never"])
def test_what_is_no_policy_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(SettingsError, match="no approval policy"):
        parse_policy(text)
