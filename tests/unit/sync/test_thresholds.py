"""Display thresholds: costs follow from what would be shown, and the suggestion is where they are least."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from sync.corrections.seconds import ACTS, PRIOR, Timed
from sync.corrections.thresholds import FATES, GRID, Seen, fates, saved, suggest, tabulate, worth

ACTED = np.array(PRIOR)
CONFIDENCES = st.integers(6, 99).map(lambda value: value / 100)


@st.composite
def images(draw: st.DrawFn) -> list[Seen]:
    place = st.integers(0, 4).map(lambda value: value * 8)

    def box() -> Box:
        x, y = draw(place), draw(place)
        return Box(x, y, x + 16, y + 16)

    label = st.sampled_from("ab")
    return [
        Seen(
            [LabelledBox(draw(label), box()) for _ in range(draw(st.integers(0, 3)))],
            [Detection(draw(label), box(), draw(CONFIDENCES)) for _ in range(draw(st.integers(0, 5)))],
        )
        for _ in range(draw(st.integers(1, 5)))
    ]


@given(images())
def test_a_box_is_found_once_at_most_and_every_detection_has_one_fate(found: list[Seen]) -> None:
    for seen in found:
        ended = {label: fates(seen, label) for label in "ab"}
        for label, each in ended.items():
            assert [confidence for confidence, _ in each] == sorted(
                (i.confidence for i in seen.detections if i.label == label), reverse=True
            )
            own = sum(box.label == label for box in seen.boxes)
            assert sum(fate in ("kept", "moved") for _, fate in each) <= own
            assert sum(fate == "relabelled" for _, fate in each) <= len(seen.boxes) - own


@given(images(), CONFIDENCES)
def test_a_threshold_changes_no_fate_of_what_is_above_it(found: list[Seen], threshold: float) -> None:
    for seen in found:
        above = Seen(seen.boxes, [item for item in seen.detections if item.confidence >= threshold or item.label != "a"])
        assert fates(above, "a") == [fate for fate in fates(seen, "a") if fate[0] >= threshold]


@given(images(), st.lists(CONFIDENCES, min_size=1, max_size=4))
def test_what_a_threshold_saves_is_the_sum_over_what_it_shows(found: list[Seen], thresholds: list[float]) -> None:
    values = worth(ACTED)
    told = saved(tabulate(found, "a"), np.array(thresholds), np.ones(len(found)), ACTED)
    for threshold, value in zip(thresholds, told, strict=True):
        shown = [fate for seen in found for confidence, fate in fates(seen, "a") if confidence >= threshold]
        assert value == pytest.approx(sum(values[fate] for fate in shown))


@given(images())
def test_costs_are_monotone_where_they_must_be(found: list[Seen]) -> None:
    table, every = tabulate(found, "a"), np.ones(len(found))
    free = dict(zip(ACTS, PRIOR, strict=True))
    harmless = np.array([{**free, "deleted": 0.0}[act] for act in ACTS])
    assert (np.diff(saved(table, GRID, every, harmless)) <= 1e-9).all(), "where deleting costs nothing, showing less never saves"
    useless = np.array([{**free, "added": 0.0, "kept": 0.0}[act] for act in ACTS])
    assert (np.diff(saved(table, GRID, every, useless)) >= -1e-9).all(), "where drawing costs nothing, showing less never costs"


def test_a_box_that_is_shown_saves_its_drawing_less_what_mends_it() -> None:
    box, off, far = Box(0, 0, 10, 10), Box(2, 0, 12, 10), Box(50, 50, 60, 60)
    seen = Seen(
        [LabelledBox("a", box), LabelledBox("b", far)], [Detection("a", off, 0.9), Detection("a", box, 0.8), Detection("a", far, 0.3)]
    )
    assert fates(seen, "a") == [(0.9, "moved"), (0.8, "deleted"), (0.3, "relabelled")]
    act = dict(zip(ACTS, PRIOR, strict=True))
    assert worth(ACTED) == {
        "kept": act["added"] - act["kept"],
        "moved": act["added"] - act["moved"],
        "relabelled": act["added"] - act["relabelled"],
        "deleted": -act["deleted"],
    }
    assert set(worth(ACTED)) == set(FATES)


def stream(rng: np.random.Generator, count: int, right_from: float) -> list[Seen]:
    """Images with a box each; detections from `right_from` on are right, weaker ones are not."""
    found = []
    for _ in range(count):
        good = Detection("a", Box(0, 0, 10, 10), float(rng.uniform(right_from + 0.02, 1)))
        bad = [Detection("a", Box(50, 50 + n, 60, 60 + n), float(rng.uniform(0.06, right_from - 0.02))) for n in range(4)]
        found.append(Seen([LabelledBox("a", Box(0, 0, 10, 10))], [good, *bad]))
    return found


def test_the_suggestion_lies_between_what_is_right_and_what_is_wrong() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    edge = float(rng.uniform(0.3, 0.8))
    found = suggest(stream(rng, 100, edge), [], {"a": 0.1, "never drawn": 0.25}, seed)
    one, other = found.classes
    assert one.verdict == "better" and edge - 0.04 <= one.suggested <= edge + 0.04, f"seed {seed}: {one}"
    assert 0 < one.saves.low <= one.saves.value <= one.saves.high
    assert found.now.value - found.then.value == pytest.approx(one.saves.value, rel=0.25)
    assert (other.verdict, other.suggested) == ("too little data", 0.25)
    assert found.acts["added"].value == 7.0


def test_nothing_is_suggested_where_nobody_can_tell() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    there = stream(rng, 100, 0.5)
    assert suggest(there, [], {"a": 0.5}, seed).classes[0].verdict == "as good", f"seed {seed}"
    few = suggest(there[:10], [], {"a": 0.1}, seed)
    assert (few.classes[0].verdict, few.classes[0].suggested, few.now) == ("too little data", 0.1, few.then)


def test_slow_drawing_shows_more_and_slow_deleting_less() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    mixed = []
    for _ in range(300):  # right as often as it is sure
        items = [Detection("a", Box(20 * n, 0, 20 * n + 10, 10), float(rng.uniform(0.06, 1))) for n in range(4)]
        mixed.append(Seen([LabelledBox("a", item.box) for item in items if rng.random() < item.confidence], items))

    def best(deleted: float, added: float) -> float:
        timed = [Timed(3 + deleted * d + added * a, (0, 0, 0, int(d), int(a))) for d, a in rng.integers(0, 6, (400, 2))]
        return suggest(mixed, timed, {"a": 0.99}, seed).classes[0].suggested

    draws_slowly, deletes_slowly = best(1.0, 9.0), best(9.0, 1.0)
    assert draws_slowly < 0.35 and deletes_slowly > 0.75, f"seed {seed}: {draws_slowly}, {deletes_slowly}"
