"""The policy's decision, over a table and over all states."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.policy import PolicyRules, PolicyState, decide

NOW = datetime(2026, 11, 23, tzinfo=UTC)
RULES = PolicyRules(first_labels=100, min_new_labels=50, cooldown_seconds=3600)
COLD = PolicyState(None, None, 90, 10, 90, 0, None, None)
WARM = PolicyState("m@1", None, 150, 20, 50, 1, NOW - timedelta(hours=1), None)

states = st.builds(
    PolicyState,
    champion=st.sampled_from([None, "m@1"]),
    active_run=st.sampled_from([None, 3]),
    train_labels=st.integers(0, 200),
    holdout_labels=st.integers(0, 200),
    new_labels=st.integers(0, 200),
    finished_runs=st.integers(0, 3),
    last_ended=st.none() | st.integers(0, 9000).map(lambda seconds: NOW - timedelta(seconds=seconds)),
    failed_run=st.sampled_from([None, 2]),
)


@pytest.mark.parametrize(
    ("state", "cause", "unmet"),
    [
        (COLD, "cold_start", set()),
        (replace(COLD, holdout_labels=9), None, {"first_labels"}),
        (replace(COLD, train_labels=0, holdout_labels=200), None, {"first_labels"}),
        (replace(COLD, active_run=1), None, {"idle"}),
        (replace(COLD, finished_runs=1, new_labels=49), None, {"new_labels"}),  # the first model detected nothing: not again for the same
        (replace(COLD, finished_runs=1, new_labels=50), "cold_start", set()),
        (WARM, "new_labels", set()),
        (replace(WARM, new_labels=49), None, {"new_labels"}),
        (replace(WARM, last_ended=NOW - timedelta(seconds=3599)), None, {"cooldown"}),
        (replace(WARM, failed_run=1), None, {"changed"}),
        (replace(WARM, new_labels=0, active_run=2, last_ended=NOW), None, {"idle", "new_labels", "cooldown"}),
    ],
)
def test_table(state: PolicyState, cause: str | None, unmet: set[str]) -> None:
    verdict = decide(state, RULES, NOW)
    assert (verdict.fire, verdict.cause) == (cause is not None, cause)
    assert {reason.code for reason in verdict.reasons if not reason.met} == unmet


@given(states)
def test_fires_exactly_when_every_reason_is_met_and_never_beside_a_run(state: PolicyState) -> None:
    verdict = decide(state, RULES, NOW)
    assert verdict.fire == all(reason.met for reason in verdict.reasons) == (verdict.cause is not None)
    assert not (verdict.fire and state.active_run)
    assert len({reason.code for reason in verdict.reasons}) == 4


@given(states, st.integers(1, 100))
def test_more_labels_never_hold_a_run_back(state: PolicyState, more: int) -> None:
    richer = replace(state, train_labels=state.train_labels + more, new_labels=state.new_labels + more)
    assert decide(richer, RULES, NOW).fire >= decide(state, RULES, NOW).fire


@given(states, st.integers(0, 10_000))
def test_waiting_never_holds_a_run_back(state: PolicyState, seconds: int) -> None:
    assert decide(state, RULES, NOW + timedelta(seconds=seconds)).fire >= decide(state, RULES, NOW).fire


def test_reasons_say_their_numbers() -> None:
    reason = next(reason for reason in decide(replace(WARM, new_labels=12), RULES, NOW).reasons if reason.code == "new_labels")
    assert reason.text == "12 of 50 new training labels since the last run."
    assert (reason.have, reason.need) == (12, 50)
