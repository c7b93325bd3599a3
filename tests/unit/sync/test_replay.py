"""A stored decision gives the same choice again, after its way through JSON."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from labelwheel.database.tables import Decision
from sync.selection.budget import FIRST_BATCH, SELECTION
from sync.selection.choose import Candidate, Known, Rules, choose, choose_first
from sync.selection.replay import inputs_of, replay
from tests.unit.sync.test_choose import known_images, pools, rules_of_all_kinds, told


@given(pools(), rules_of_all_kinds, known_images, st.integers(0, 2**40), st.booleans())
@settings(max_examples=25)
def test_a_decision_can_be_made_again(pool: list[Candidate], rules: Rules, known: list[Known], seed: int, first: bool) -> None:
    inputs = json.loads(json.dumps(inputs_of(rules, seed, pool, known)))
    again = replay(Decision(kind=FIRST_BATCH if first else SELECTION, inputs=inputs))
    assert told(again) == told(choose_first(pool, rules, seed) if first else choose(pool, rules, known, seed))
