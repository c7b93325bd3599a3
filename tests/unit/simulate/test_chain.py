"""Rounds without training: what is labelled, what is trained on, and that a step is known by all that decides it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.simulate import RegimeName, StrategyName
from console.simulate.chain import CONTROL, Course, base_step, control_set, first_step, play, play_control, training_set
from console.simulate.regime import REGIMES, Split
from console.simulate.step import Outcome, Seen, Step
from console.simulate.stock import Photo
from console.simulate.strategy import STRATEGIES, Strategy
from labelwheel.settings import Settings
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box

LABELS = ("crack", "dent")
names = st.sampled_from(STRATEGIES)
few = settings(max_examples=25)  # each example chooses several times


class Bench:
    """Does every step at once: what is found on a photograph is drawn from the step's key and the photograph's."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def do(self, step: Step) -> Outcome:
        self.steps.append(step)
        seen = {photo.key: _seen(step.key + photo.key) for photo in step.pool}
        score = len(step.train) / 1000
        scores = {"map50": score, "map50_95": score / 2, "per_class": {"dent": score}, "per_source": {"line-b": None}}
        return Outcome(step.key, step.spec.updates_made, 1.0, scores, seen)


def _seen(salt: str) -> Seen:
    rng = random.Random(salt)
    found = sorted(rng.random() for _ in range(rng.randrange(5)))
    boxes = (Detection(rng.choice(LABELS), Box(number, 0, number + 9, 9), value) for number, value in enumerate(found[::-1]))
    return Seen(tuple(boxes), tuple(rng.random() for _ in range(4)))


def _photos(first: int, count: int) -> tuple[Photo, ...]:
    return tuple(_photo(number) for number in range(first, first + count))


def _photo(number: int) -> Photo:
    rng = random.Random(number)
    boxes = tuple(LabelledBox(rng.choice(LABELS), Box(0, 0, 5, 5 + place)) for place in range(rng.randrange(6)))
    descriptor = tuple(rng.random() for _ in range(4))
    return Photo(f"{number:064x}", f"{number}.png", 64, 64, rng.choice(["line-a", "line-b"]), boxes, descriptor)


@st.composite
def courses(draw: st.DrawFn) -> Course:
    start, pool = draw(st.integers(4, 30)), draw(st.integers(1, 40))
    split = Split(_photos(300, draw(st.sampled_from([0, 6]))), _photos(0, start), _photos(100, pool), _photos(200, 5), "line-b", "dent")
    recipe = Settings(replay=draw(st.sampled_from([0.0, 0.5, 1.0])), batch_size=4, warm_updates=12)
    return Course("shift", draw(st.integers(0, 2**20)), split, LABELS, draw(st.integers(1, 4)), draw(st.integers(1, 12)), recipe)


@few
@given(courses(), names)
def test_each_round_labels_its_budget_of_the_pool_and_never_the_test(course: Course, strategy: Strategy) -> None:
    bench = Bench()
    run = play(course, strategy, bench.do)
    left = len(course.split.pool)
    for before, point in zip(run.points, run.points[1:], strict=False):
        assert point.images - before.images == min(course.budget, left)
        left -= point.images - before.images
        assert point.boxes >= before.boxes
    known, test = {photo.key for photo in course.split.start + course.split.pool}, {photo.key for photo in course.split.test}
    for step in _after_base(course, bench):
        assert {photo.key for photo in step.train} <= known
        assert not {photo.key for photo in step.pool} & test
        assert step.test == course.split.test


@few
@given(courses(), names)
def test_the_model_of_a_round_goes_on_from_the_one_before_and_looks_where_a_choice_is_due(course: Course, strategy: Strategy) -> None:
    bench = Bench()
    play(course, strategy, bench.do)
    everything = {photo.key for photo in course.split.start + course.split.pool}
    for before, step in zip(bench.steps, bench.steps[1:], strict=False):
        assert step.start == before.key and step.spec.warm
    first, *others = _after_base(course, bench)
    assert {photo.key for photo in first.pool} == everything
    for step in others:
        assert {photo.key for photo in step.pool} == (everything if strategy.looks and step is not others[-1] else set())
    assert bench.steps[0].start == "" and not bench.steps[0].spec.warm
    assert bench.steps[0].train == (course.split.base or course.split.start)


@given(courses(), st.integers(0, 2**20))
def test_all_seeds_begin_with_the_same_base(course: Course, seed: int) -> None:
    one, other = base_step(course), base_step(replace(course, seed=seed))
    assert (one is None) == (not course.split.base)
    assert one is None or other is None or one.key == other.key


def _after_base(course: Course, bench: Bench) -> list[Step]:
    return bench.steps[1:] if course.split.base else bench.steps


@few
@given(courses(), names)
def test_playing_again_asks_for_the_very_same_steps(course: Course, strategy: Strategy) -> None:
    benches = Bench(), Bench()
    runs = [play(course, strategy, bench.do) for bench in benches]
    assert runs[0] == runs[1]
    assert [step.key for step in benches[0].steps] == [step.key for step in benches[1].steps]


@given(courses())
def test_the_control_trains_as_long_on_the_start_set_alone(course: Course) -> None:
    bench, other = Bench(), Bench()
    run = play_control(course, bench.do)
    play(course, STRATEGIES[0], other.do)
    start = {photo.key for photo in course.split.start}
    assert run.strategy == CONTROL
    assert all({photo.key for photo in step.train} <= start for step in _after_base(course, bench))
    assert {point.images for point in run.points} == {len(start)}
    for mine, theirs in zip(bench.steps, other.steps, strict=True):
        if len(mine.train) == len(theirs.train):
            assert mine.spec.updates_made == theirs.spec.updates_made


@given(st.integers(0, 30), st.integers(0, 12), st.sampled_from([0.0, 0.5, 1.0, 3.0]), st.integers(0, 99))
def test_a_warm_start_takes_all_new_photographs_and_replays_old_ones(old: int, new: int, replay: float, seed: int) -> None:
    before, fresh = _photos(0, old), _photos(100, new)
    chosen = training_set(before, fresh, replay, seed)
    assert set(fresh) <= set(chosen) and len(set(chosen)) == len(chosen)
    assert len(chosen) - new == (min(round(replay * new), old) if new else old)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_a_control_set_is_as_large_as_the_others(start: int, budget: int, seed: int) -> None:
    chosen = control_set(_photos(0, start), budget, 1.0, seed)
    assert len({photo.key for photo in chosen}) == len(chosen) == min(2 * budget, start)


def test_a_steps_key_changes_with_what_decides_it_and_with_nothing_else() -> None:
    split = Split((), _photos(0, 8), _photos(100, 4), _photos(200, 2))
    step = first_step(Course("homogeneous", 7, split, LABELS, 1, 2, Settings()), None)
    same = replace(step, title="another", spec=replace(step.spec, folder="/elsewhere", data="/elsewhere/data.yaml", threads=9, nice=3))
    assert same.key == step.key
    others = [
        replace(step, spec=replace(step.spec, seed=step.spec.seed + 1)),
        replace(step, spec=replace(step.spec, updates=step.spec.updates + 1)),
        replace(step, spec=replace(step.spec, start="yolo11n.yaml")),
        replace(step, start="f" * 64),
        replace(step, labels=LABELS[::-1]),
        replace(step, train=step.train[:-1]),
        replace(step, test=step.test[:-1]),
        replace(step, pool=step.pool[:-1]),
    ]
    assert len({step.key, *(other.key for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(("names", "things"), [(StrategyName, STRATEGIES), (RegimeName, REGIMES)])
def test_the_command_offers_what_there_is(names: type, things: tuple) -> None:
    assert [name.value for name in names] == [thing.name for thing in things]
