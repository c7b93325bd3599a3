"""Strategies: the production's own choice, blind to what only the annotator knows."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from console.simulate.step import Seen
from console.simulate.stock import Photo
from console.simulate.strategy import STRATEGIES, Moment, Strategy, whole
from labelwheel.settings import Settings
from labelwheel.vision.detection import Detection, LabelledBox
from labelwheel.vision.geometry import Box
from sync.selection.score import Found, Scale, uncertainty

LABELS = ("crack", "dent")
MEASURES = [strategy for strategy in STRATEGIES if strategy.name in ("least_confidence", "entropy", "expected_errors")]


@st.composite
def moments(draw: st.DrawFn) -> Moment:
    """A pool of up to 30 and 25 labelled photographs; the model found up to five boxes on each."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    photos = [_photo(number, rng) for number in range(draw(st.integers(1, 30)) + 25)]
    seen = {photo.key: _seen(rng) for photo in photos}
    return Moment(photos[25:], photos[:25], seen, draw(st.integers(1, 10)), draw(st.integers(0, 2**31 - 1)), Settings())


@settings(max_examples=25)
@given(moments(), st.sampled_from(STRATEGIES))
def test_no_strategy_sees_the_labels_of_the_pool(moment: Moment, strategy: Strategy) -> None:
    chosen = [photo.key for photo in strategy.pick(moment)]
    blind = replace(moment, pool=[replace(photo, boxes=(LabelledBox("dent", Box(1, 1, 2, 2)),)) for photo in moment.pool])
    assert [photo.key for photo in strategy.pick(blind)] == chosen
    assert len(set(chosen)) == len(chosen) == min(moment.budget, len(moment.pool))


@settings(max_examples=25)
@given(moments(), st.sampled_from(MEASURES))
def test_a_measure_takes_the_most_uncertain_and_lots_fill_up_from_what_is_certain(moment: Moment, strategy: Strategy) -> None:
    band = Scale(moment.settings.confidence_low, moment.settings.confidence_high)
    doubt = {
        photo.key: uncertainty(
            [Found(i.label, i.confidence, i.box.as_tuple()) for i in moment.seen[photo.key].detections], strategy.name, band
        )
        for photo in moment.pool
    }
    chosen = [photo.key for photo in strategy.pick(moment)]
    doubtful = [key for key in chosen if doubt[key] >= moment.settings.uncertainty_min]
    assert chosen[: len(doubtful)] == doubtful
    left = [doubt[key] for key in doubt if key not in chosen]
    assert not left or not doubtful or min(doubt[key] for key in doubtful) >= max(left)
    assert len(doubtful) == min(moment.budget, sum(value >= moment.settings.uncertainty_min for value in doubt.values()))


def test_production_means_what_the_settings_say_of_a_day_with_the_rounds_budget() -> None:
    told = Settings(uncertainty="margin", spread=2, similar_distance=0.2, novelty_share=0.5, budget_per_hour=3, quota_sources="line-a=0.25")
    rules = whole(Moment([], [], {}, 8, 0, told))
    assert (rules.budget, rules.uncertainty, rules.spread, rules.distance, rules.novelty) == (8, "margin", 2, 0.2, 4)
    assert rules.sources == {"line-a": 2}


def _photo(number: int, rng: random.Random) -> Photo:
    descriptor = tuple(rng.random() for _ in range(4))
    return Photo(f"{number:064x}", f"{number}.png", 64, 64, rng.choice(["line-a", "line-b"]), (), descriptor=descriptor)


def _seen(rng: random.Random) -> Seen:
    found = (Detection(rng.choice(LABELS), Box(0, 0, 9, 9), rng.random()) for _ in range(rng.randrange(6)))
    return Seen(tuple(found), tuple(rng.random() for _ in range(4)))
