from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.demo.images import Truth
from console.demo.review import FLAWLESS, SECONDS, Rates, Region, iou, match, review

LABELS = ("scratch", "dent", "crack")
TRUE = Truth("dent", 10, 10, 50, 50)

corner = st.floats(0, 200, allow_nan=False)
side = st.floats(4, 80, allow_nan=False)
truths = st.builds(lambda label, x, y, w, h: Truth(label, x, y, x + w, y + h), st.sampled_from(LABELS), corner, corner, side, side)
chances = st.floats(0, 1)
rates = st.builds(Rates, chances, chances, st.floats(0, 0.1), chances, chances, chances, chances)


def shown(*boxes: Truth) -> list[Region]:
    return [Region(box, f"r{index}", "prediction", 0.5) for index, box in enumerate(boxes)]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Truth], list[Truth]]:
    """True boxes, and predictions of which some are near true ones."""
    truth = draw(st.lists(truths, max_size=5))
    shift = st.floats(-6, 6)
    near = [
        Truth(draw(st.sampled_from((box.label, *LABELS))), box.x1 + draw(shift), box.y1, box.x2 + draw(shift) + 12, box.y2) for box in truth
    ]
    return truth, draw(st.permutations([*near, *draw(st.lists(truths, max_size=4))]))


@given(scenes(), st.integers(0, 2**32))
def test_without_errors_the_outcome_is_the_truth(scene: tuple[list[Truth], list[Truth]], seed: int) -> None:
    truth, predicted = scene
    done = review(shown(*predicted), truth, FLAWLESS, np.random.default_rng(seed), LABELS)
    left = list(truth)
    for region in done.regions:
        best = max((box for box in left if box.label == region.box.label), key=lambda box: iou(box, region.box))
        assert iou(best, region.box) >= 0.98
        left.remove(best)
    assert not left
    assert done.tally.mistakes == 0


@given(scenes(), rates, st.integers(0, 2**32))
def test_every_box_has_one_fate(scene: tuple[list[Truth], list[Truth]], given_rates: Rates, seed: int) -> None:
    truth, predicted = scene
    done = review(shown(*predicted), truth, given_rates, np.random.default_rng(seed), LABELS)
    tally = done.tally
    assert tally.tasks == 1
    if done.skipped:
        assert (tally.skipped, done.regions) == (1, tuple(shown(*predicted)))
        return
    assert tally.kept + tally.moved + tally.relabelled + tally.deleted == len(predicted)
    assert tally.kept + tally.moved + tally.relabelled + tally.added == len(done.regions)
    by_origin = {
        origin: sum(region.origin == origin for region in done.regions) for origin in ("prediction", "prediction-changed", "manual")
    }
    assert by_origin == {"prediction": tally.kept, "prediction-changed": tally.moved + tally.relabelled, "manual": tally.added}
    acts = {"keep": tally.kept, "move": tally.moved, "relabel": tally.relabelled, "delete": tally.deleted, "add": tally.added}
    assert tally.seconds == pytest.approx(SECONDS["look"] + sum(SECONDS[act] * count for act, count in acts.items()))
    assert len({region.id for region in done.regions}) == len(done.regions)
    assert all(region.box.x1 < region.box.x2 and region.box.y1 < region.box.y2 for region in done.regions)


@given(scenes(), rates, st.integers(0, 2**32))
def test_the_seed_decides(scene: tuple[list[Truth], list[Truth]], given_rates: Rates, seed: int) -> None:
    truth, predicted = scene
    one, other = (review(shown(*predicted), truth, given_rates, np.random.default_rng(seed), LABELS) for _ in range(2))
    assert one == other


@given(st.lists(truths, max_size=6), st.lists(truths, max_size=6))
def test_matching_uses_each_box_once(predicted: list[Truth], truth: list[Truth]) -> None:
    pairs = list(match(predicted, truth))
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


def only(predicted: list[Region], truth: list[Truth], **changes: float) -> tuple[list[Region], object]:
    done = review(predicted, truth, replace(FLAWLESS, content=0.75, **changes), np.random.default_rng(0), LABELS)
    return list(done.regions), done.tally


def test_a_good_box_goes_back_untouched() -> None:
    seen = shown(Truth("dent", 11, 11, 51, 51))
    regions, tally = only(seen, [TRUE])
    assert regions == seen
    assert tally.kept == 1


def test_a_loose_box_is_moved_and_keeps_its_id_and_score() -> None:
    regions, tally = only(shown(Truth("dent", 20, 10, 60, 50)), [TRUE])
    assert regions == [Region(TRUE, "r0", "prediction-changed", 0.5)]
    assert tally.moved == 1


def test_a_tolerant_person_leaves_a_loose_box() -> None:
    regions, tally = only(shown(Truth("dent", 20, 10, 60, 50)), [TRUE], move=0)
    assert regions[0].origin == "prediction"
    assert (tally.kept, tally.mistakes) == (1, 0)


def test_a_wrong_label_is_changed_in_place() -> None:
    regions, tally = only(shown(replace(TRUE, label="crack")), [TRUE])
    assert regions == [Region(TRUE, "r0", "prediction-changed", 0.5)]
    assert tally.relabelled == 1


def test_a_second_box_on_the_same_thing_is_deleted() -> None:
    regions, tally = only(shown(Truth("dent", 12, 12, 52, 52), TRUE), [TRUE])
    assert [region.id for region in regions] == ["r1"]
    assert (tally.kept, tally.deleted) == (1, 1)


def test_an_added_box_has_no_score() -> None:
    (region,), tally = only([], [TRUE])
    assert (region.box, region.origin, region.score) == (TRUE, "manual", None)
    assert tally.added == 1


def test_who_misses_everything_adds_and_deletes_nothing() -> None:
    false_alarm = shown(Truth("crack", 150, 150, 180, 180))
    regions, tally = only(false_alarm, [TRUE], miss=1)
    assert regions == false_alarm
    assert (tally.mistakes, tally.added, tally.deleted) == (2, 0, 0)


def test_a_wrong_choice_is_another_label() -> None:
    (region,), tally = only([], [TRUE], wrong_label=1)
    assert region.box.label in {"scratch", "crack"}
    assert tally.mistakes == 1


def test_error_rates_are_met() -> None:
    chosen = Rates(miss=0.1, slip=0.2, wrong_label=0.1, skip=0.05)
    runs = [review([], [TRUE], chosen, np.random.default_rng(seed), LABELS).tally for seed in range(2000)]
    tasks = len(runs) - sum(run.skipped for run in runs)
    assert sum(run.skipped for run in runs) / len(runs) == pytest.approx(0.05, abs=0.02)
    assert sum(run.added for run in runs) / tasks == pytest.approx(0.9, abs=0.03)
    assert sum(run.mistakes for run in runs) / tasks == pytest.approx(0.1 + 0.9 * 0.3, abs=0.04)
