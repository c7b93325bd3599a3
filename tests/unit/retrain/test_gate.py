"""The gate's rules, one by one; how often it errs is in `test_gate_simulation.py`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.gate.anchor import Step, anchor_of
from retrain.gate.compare import Gain, Holdout, Slice
from retrain.gate.decide import GateRules, Rival, Verdict, decide, surely_worse
from retrain.gate.precision import Matches
from tests.fixtures import gate_world as world
from tests.fixtures.gate_world import CLASSES, Model, World

RULES = GateRules(confidence=0.975, min_images=20)
SCENE = world.draw(np.random.default_rng(11), 200)
GOOD, FAIR, POOR = 2.5, 2.0, 1.2  # skills


def model(*skill: float, seed: int = 1) -> Model:
    """By its skill at each of the four sources; one number stands for all."""
    return Model(skill if len(skill) > 1 else skill * 4, seed)


def rival(one: Model, scene: World = SCENE, both: tuple[str, ...] = CLASSES, aside: tuple[str, ...] = ()) -> Rival:
    return Rival(f"labelwheel@{one.seed}", one.look(scene), both, aside)


def faced(
    challenger: Model, champion: Model | Rival, scene: World = SCENE, anchor: Model | None = None, asked: Slice | None = None
) -> Verdict:
    found = challenger.look(scene)
    facing = champion if isinstance(champion, Rival) else rival(champion, scene)
    return decide(found, facing, world.holdout(scene, found.truths), RULES, 5, rival(anchor, scene) if anchor else None, asked)


def test_better_is_promoted_and_becomes_the_anchor() -> None:
    verdict = faced(model(GOOD, seed=2), model(POOR))
    assert verdict.promote and verdict.establishes
    assert "Better: promoted." in verdict.reasons[-1]
    numbers = verdict.numbers
    assert numbers["lower"] < numbers["gain"] < numbers["upper"]
    assert numbers["gain"] == pytest.approx(numbers["challenger"] - numbers["champion"])


def test_worse_is_not() -> None:
    assert not faced(model(POOR, seed=2), model(GOOD)).promote


def test_the_same_model_is_no_better() -> None:
    verdict = faced(model(FAIR), model(FAIR))
    assert not verdict.promote and verdict.numbers["standard_error"] == 0


def test_the_verdict_repeats() -> None:
    assert faced(model(GOOD, seed=2), model(FAIR)) == faced(model(GOOD, seed=2), model(FAIR))


def test_a_small_holdout_replaces_no_model_and_says_so() -> None:
    verdict = faced(model(GOOD, seed=2), model(POOR), SCENE.first(19))
    assert not verdict.promote and "19 labelled images; 20 are needed" in verdict.reasons[0]


def test_no_holdout_replaces_no_model() -> None:
    empty = Matches(np.zeros((2, 0), np.int64), np.array([], np.int64), np.array([], np.int64), np.array([], bool))
    assert not decide(empty, Rival("labelwheel@1", empty, ("a", "b")), Holdout(("a", "b"), (), empty.truths), RULES, 1).promote


def test_a_first_model_needs_to_detect_something() -> None:
    for skill, promoted in ((GOOD, True), (-30.0, False)):
        found = model(skill).look(SCENE)
        verdict = decide(found, None, world.holdout(SCENE, found.truths), RULES, 1)
        assert (verdict.promote, verdict.establishes) == (promoted, promoted)


def test_what_is_better_in_all_and_surely_worse_at_one_source_is_vetoed() -> None:
    verdict = faced(model(0.8, GOOD, GOOD, GOOD, seed=2), model(GOOD, POOR, POOR, POOR))
    assert verdict.numbers["lower"] > 0 and not verdict.promote
    assert any(reason.startswith("Surely worse on source line-1") for reason in verdict.reasons)
    assert "not everywhere" in verdict.reasons[-1]
    assert [row["slice"] for row in verdict.slices if row["vetoes"]] == ["source line-1"]


def test_a_slice_with_few_boxes_has_no_floor_and_is_named() -> None:
    scene = SCENE.first(60)
    lone = World(
        np.where(np.arange(60) < 3, 7, scene.source % 3), *(getattr(scene, name) for name in World.__annotations__ if name != "source")
    )
    found = [Model((FAIR,) * 8, seed) for seed in (1, 2)]
    verdict = faced(found[1], rival(found[0], lone), lone)
    assert any("Too few boxes" in reason and "source line-8" in reason for reason in verdict.reasons)


def test_better_where_it_was_asked_for_is_enough_when_nothing_is_lost() -> None:
    champion, mended = model(POOR - 0.6, FAIR, FAIR, FAIR), model(FAIR, FAIR, FAIR, FAIR)  # the same seed: equal but there
    there = Slice("source", "line-1")
    assert faced(mended, champion, asked=there).promote
    worse = faced(model(FAIR, POOR, POOR, POOR, seed=2), champion, asked=there)
    assert not worse.promote and worse.numbers["slice_lower"] > 0


def test_a_slice_that_is_not_in_the_holdout_is_no_way_in() -> None:
    verdict = faced(model(FAIR, seed=2), model(FAIR), asked=Slice("source", "line-9"))
    assert not verdict.promote and "holdout has nothing" in verdict.reasons[1]
    assert verdict.numbers["confidence"] == RULES.confidence


def test_two_questions_share_the_risk() -> None:
    assert faced(model(FAIR, seed=2), model(FAIR), asked=Slice("class", "open")).numbers["confidence"] == pytest.approx(0.9875)


def test_the_anchor_bounds_what_may_be_lost() -> None:
    """Surely better than the champion, far below the best that ever served."""
    challenger, champion, best = model(1.75, seed=2), model(1.45), model(GOOD, seed=3)
    assert faced(challenger, champion).promote
    near = faced(model(FAIR, seed=2), model(FAIR), anchor=model(GOOD, seed=3))
    assert not near.promote and near.numbers["anchor_lower"] < -RULES.budget
    assert any("the best that ever served" in reason for reason in near.reasons)
    # A champion that lies surely below that level was put there by a person: whatever is better than it loses nothing more.
    sunk = faced(challenger, champion, anchor=best)
    assert sunk.promote and not sunk.establishes


def test_what_the_champion_does_not_know_is_not_held_against_it() -> None:
    known = CLASSES[:-1]
    blind = model(FAIR).look(SCENE)
    mine = blind.label != len(CLASSES) - 1
    deaf = Matches(blind.truths, blind.image[mine], blind.label[mine], blind.hit[mine])
    everything = Rival("labelwheel@1", deaf, CLASSES)
    assert faced(model(FAIR, seed=2), everything).promote
    verdict = faced(model(FAIR, seed=2), Rival("labelwheel@1", deaf, known, (CLASSES[-1],)))
    assert not verdict.promote
    assert any("only one of the two models knows it: pinhole" in reason for reason in verdict.reasons)
    assert "class pinhole" not in [row["slice"] for row in verdict.slices]


def test_models_without_a_common_class_are_not_compared() -> None:
    verdict = faced(model(GOOD, seed=2), rival(model(POOR), both=(), aside=CLASSES))
    assert not verdict.promote and "no class in common" in verdict.reasons[0]


@pytest.mark.parametrize(("share", "freedom", "value"), [(0.975, 19, 2.093), (0.975, 299, 1.968), (0.9875, 49, 2.312), (0.9, 7, 1.415)])
def test_bounds_and_chances_are_student_s(share: float, freedom: int, value: float) -> None:
    gain = Gain(0.5, 0.5 + value / 100, 0.01, images=freedom + 1, boxes=100)
    assert gain.lower(share) == pytest.approx(0, abs=1e-5)
    assert gain.upper(share) == pytest.approx(2 * value / 100, abs=1e-5)
    assert gain.chance == pytest.approx(share, abs=1e-4)


CHANCES = st.lists(st.floats(-8, 3), min_size=1, max_size=8)


@given(CHANCES)
def test_holm_names_no_fewer_than_bonferroni_and_the_worst_first(ratios: list[float]) -> None:
    gains = {Slice("class", str(number)): Gain(0.5, 0.5 + ratio / 100, 0.01, 100, 400) for number, ratio in enumerate(ratios)}
    found = surely_worse(gains, 0.025)
    assert {part for part, gain in gains.items() if gain.chance <= 0.025 / len(gains)} <= set(found)
    assert all(gains[part].chance <= 0.025 for part in found)
    assert [gains[part].chance for part in found] == sorted(gains[part].chance for part in found)
    left = [gain.chance for part, gain in gains.items() if part not in found]
    assert not found or not left or max(gains[part].chance for part in found) <= min(left)


STEPS = st.lists(st.builds(Step, st.integers(1, 9), st.booleans()), max_size=12)


@given(STEPS, st.lists(st.integers(1, 9), max_size=6))
def test_no_act_of_a_person_moves_the_anchor(steps: list[Step], acts: list[int]) -> None:
    by_hand = [Step(version, establishes=False) for version in acts]
    first = [Step(1, establishes=True)]
    assert anchor_of([*first, *steps, *by_hand]) == anchor_of([*first, *steps])
    established = [step.model_version_id for step in steps if step.establishes]
    assert anchor_of([*first, *steps]) == (established[-1] if established else 1)


def test_nothing_served_is_no_anchor() -> None:
    assert anchor_of([]) is None
    assert anchor_of([Step(4, establishes=False)]) == 4
