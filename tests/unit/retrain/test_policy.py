"""The policy's decision, over a table and over all states."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.policy import PolicyRules, PolicyState, decide, replay
from retrain.policy.causes import needed
from retrain.policy.observe import burst_start
from retrain.policy.state import ClassNews, Drifted, Tried

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES = PolicyRules(
    first_labels=100,
    min_new_labels=50,
    cooldown_seconds=3600,
    min_new_share=0.1,
    drift_new_labels=20,
    weak_class_ap=0.5,
    weak_class_labels=30,
    max_age_days=30,
    age_new_labels=10,
    label_quiet_seconds=60,
    label_quiet_most_seconds=600,
)
COLD = PolicyState(None, None, 90, 10, 90, 0, None)
WARM = PolicyState("m@1", None, 150, 20, 50, 1, NOW - timedelta(hours=1), known_labels=100, trained_at=NOW - timedelta(days=9))
DRIFTED = Drifted("line-2", 20, NOW - timedelta(hours=3))
WEAK = {"dent": ClassNews(30, 0.4), "scratch": ClassNews(49, 0.9)}
FEW = replace(WARM, new_labels=49)

ago = st.integers(0, 4_000_000).map(lambda seconds: NOW - timedelta(seconds=seconds))
slices = st.none() | st.fixed_dictionaries({"source": st.sampled_from(["line-1", "line-2"])})
tries = st.builds(
    Tried,
    run=st.integers(1, 9),
    cause=st.sampled_from(["new_labels", "drift", "manual", "age"]),
    slice=slices,
    status=st.sampled_from(["kept_champion", "failed", "cancelled"]),
)
states = st.builds(
    PolicyState,
    champion=st.sampled_from([None, "m@1"]),
    active_run=st.sampled_from([None, None, 3]),
    train_labels=st.integers(0, 200),
    holdout_labels=st.integers(0, 200),
    new_labels=st.integers(0, 200),
    finished_runs=st.integers(0, 3),
    last_ended=st.none() | ago,
    task=st.sampled_from(["detect", "detect", "segment"]),
    known_labels=st.integers(0, 3000),
    trained_at=st.none() | ago,
    label_at=st.none() | ago,
    burst_at=st.none() | ago,
    classes=st.dictionaries(
        st.sampled_from(["dent", "scratch"]),
        st.builds(ClassNews, st.integers(0, 60), st.none() | st.floats(0, 1), st.booleans()),
    ),
    drifted=st.lists(st.builds(Drifted, st.sampled_from(["line-1", "line-2"]), st.integers(0, 40), ago), max_size=2).map(tuple),
    tried=st.lists(tries, max_size=2).map(tuple),
    spent_day=st.integers(0, 5000),
    spent_week=st.integers(0, 20000),
    utc_offset=st.sampled_from([0, 3600, -18000]),
    paused=st.sampled_from([None, None, "Retraining was paused by anna."]),
)
rules = st.builds(
    replace,
    st.just(RULES),
    cooldown_seconds=st.integers(0, 9000),
    training_quiet_hours=st.sampled_from(["", "", "11:00-13:00", "22:00-06:00"]),
    training_seconds_per_day=st.sampled_from([0, 3000]),
    first_class_labels=st.sampled_from([0, 10]),
)


def unmet(state: PolicyState, given_rules: PolicyRules = RULES) -> set[str]:
    return {reason.code for reason in decide(state, given_rules, NOW).holds}


@pytest.mark.parametrize(
    ("state", "cause", "held"),
    [
        (COLD, "cold_start", set()),
        (replace(COLD, holdout_labels=9), None, set()),
        (replace(COLD, train_labels=0, holdout_labels=200), None, set()),
        (replace(COLD, active_run=1), None, {"idle"}),
        (replace(COLD, finished_runs=1, new_labels=49), None, set()),  # the first model detected nothing: not again for the same
        (replace(COLD, finished_runs=1, new_labels=50), "cold_start", set()),
        (WARM, "new_labels", set()),
        (FEW, None, set()),
        (replace(WARM, known_labels=501), None, set()),  # 51 are a tenth of them
        (replace(WARM, known_labels=500), "new_labels", set()),
        (replace(WARM, last_ended=NOW - timedelta(seconds=3599)), None, {"cooldown"}),
        (replace(WARM, tried=(Tried(1, "manual", None, "failed"),)), None, {"changed"}),
        (replace(WARM, tried=(Tried(1, "new_labels", None, "kept_champion"),)), None, {"changed"}),
        (replace(WARM, tried=(Tried(1, "new_labels", None, "cancelled"),)), None, {"changed"}),
        (replace(WARM, tried=(Tried(1, "drift", {"source": "line-2"}, "kept_champion"),)), "new_labels", set()),
        (replace(WARM, new_labels=0, active_run=2, last_ended=NOW), None, {"idle", "cooldown"}),
        (replace(FEW, drifted=(DRIFTED,)), "drift", set()),
        (replace(WARM, drifted=(DRIFTED,)), "drift", set()),  # the gate shall look at what drifted
        (replace(WARM, drifted=(replace(DRIFTED, new=19),)), "new_labels", set()),
        (replace(FEW, drifted=(DRIFTED,), tried=(Tried(1, "drift", {"source": "line-2"}, "kept_champion"),)), None, {"changed"}),
        (replace(WARM, drifted=(DRIFTED,), tried=(Tried(1, "drift", {"source": "line-2"}, "cancelled"),)), "new_labels", set()),
        (replace(FEW, classes=WEAK), "weak_class", set()),
        (replace(WARM, classes=WEAK), "new_labels", set()),
        (replace(FEW, classes={"dent": ClassNews(30, 0.5)}), None, set()),
        (replace(FEW, classes={"dent": ClassNews(29, 0.1)}), None, set()),
        (replace(FEW, classes={"stain": ClassNews(30, None, trained=False)}), "weak_class", set()),
        (replace(FEW, classes={"stain": ClassNews(30, None)}), None, set()),  # not in the holdout: nobody knows whether it is weak
        (replace(FEW, trained_at=NOW - timedelta(days=30)), "age", set()),
        (replace(FEW, trained_at=NOW - timedelta(days=30), new_labels=9), None, set()),
        (replace(WARM, label_at=NOW, burst_at=NOW), None, {"settled"}),
        (replace(WARM, label_at=NOW - timedelta(seconds=60), burst_at=NOW), "new_labels", set()),
        (replace(WARM, label_at=NOW, burst_at=NOW - timedelta(seconds=600)), "new_labels", set()),  # patience ends
        (replace(WARM, paused="Paused."), None, {"paused"}),
        (replace(WARM, task="segment"), None, {"task"}),
    ],
)
def test_table(state: PolicyState, cause: str | None, held: set[str]) -> None:
    verdict = decide(state, RULES, NOW)
    assert (verdict.fire, verdict.cause) == (cause is not None, cause)
    assert {reason.code for reason in verdict.holds} == held


def test_the_slice_is_what_called() -> None:
    assert decide(replace(FEW, drifted=(DRIFTED, Drifted("line-3", 25, NOW))), RULES, NOW).slice == {"source": "line-3"}
    assert decide(replace(FEW, classes=WEAK), RULES, NOW).slice == {"class": "dent"}
    assert decide(replace(WARM, classes=WEAK), RULES, NOW).slice is None


def test_quiet_hours_are_those_of_the_local_clock() -> None:
    resting = replace(RULES, training_quiet_hours="13:00-14:00 07:00-11:30")
    assert decide(WARM, resting, NOW).fire
    assert unmet(replace(WARM, utc_offset=3600), resting) == {"quiet_hours"}
    text = next(reason.text for reason in decide(replace(WARM, utc_offset=3600), resting, NOW).holds)
    assert "wait until 14:00 local time" in text


def test_a_spent_budget_holds_back() -> None:
    bounded = replace(RULES, training_seconds_per_day=100, training_seconds_per_week=300)
    assert decide(replace(WARM, spent_day=99, spent_week=299), bounded, NOW).fire
    assert unmet(replace(WARM, spent_day=100, spent_week=299), bounded) == {"budget_day"}
    assert unmet(replace(WARM, spent_day=0, spent_week=300), bounded) == {"budget_week"}


def test_a_class_floor_holds_the_first_model_back_and_no_later_one() -> None:
    floor, short = replace(RULES, first_class_labels=10), {"dent": ClassNews(9), "scratch": ClassNews(80)}
    assert unmet(replace(COLD, classes=short), floor) == {"class_floor"}
    assert "dent has 9" in decide(replace(COLD, classes=short), floor, NOW).told()
    assert decide(replace(COLD, classes={**short, "dent": ClassNews(10)}), floor, NOW).fire
    assert decide(replace(WARM, classes=short), floor, NOW).fire


@given(states, rules)
def test_fires_exactly_when_a_cause_and_every_guard_are_met(state: PolicyState, given_rules: PolicyRules) -> None:
    verdict = decide(state, given_rules, NOW)
    assert verdict.fire == (bool(verdict.calls) and not verdict.holds) == (verdict.cause is not None)
    if verdict.fire:
        assert state.active_run is None and state.paused is None and state.task == "detect"
        assert not any(one.status == "failed" or (one.cause, one.slice) == (verdict.cause, verdict.slice) for one in state.tried)
    assert verdict.told()
    assert (state.active_run is not None) == verdict.told().endswith("is asked when it has ended.")
    guards = [reason.code for reason in verdict.reasons if reason.kind == "guard"]
    assert len(guards) == len(set(guards)) and {"idle", "cooldown", "settled", "changed"} <= set(guards)


@given(states, rules)
def test_a_stored_decision_is_reached_again(state: PolicyState, given_rules: PolicyRules) -> None:
    stored = json.loads(json.dumps({**state.as_dict(), "rules": asdict(given_rules), "now": NOW.isoformat()}))
    assert replay(stored) == decide(state, given_rules, NOW)


@given(states, rules, st.integers(1, 100))
def test_more_labels_never_hold_a_run_back(state: PolicyState, given_rules: PolicyRules, more: int) -> None:
    """Labels that came at the same time as those before; while they go on coming, `settled` waits."""
    richer = replace(
        state,
        train_labels=state.train_labels + more,
        new_labels=state.new_labels + more,
        drifted=tuple(replace(one, new=one.new + more) for one in state.drifted),
        classes={name: replace(news, new=news.new + more) for name, news in state.classes.items()},
        tried=(),
    )
    assert decide(richer, given_rules, NOW).fire >= decide(state, given_rules, NOW).fire


@given(states, rules, st.integers(0, 10_000))
def test_waiting_never_holds_a_run_back_outside_quiet_hours(state: PolicyState, given_rules: PolicyRules, seconds: int) -> None:
    awake = replace(given_rules, training_quiet_hours="")
    assert decide(state, awake, NOW + timedelta(seconds=seconds)).fire >= decide(state, awake, NOW).fire


@given(states, rules, st.integers(0, 10_000))
def test_a_longer_cooldown_never_lets_a_run_go(state: PolicyState, given_rules: PolicyRules, more: int) -> None:
    longer = replace(given_rules, cooldown_seconds=given_rules.cooldown_seconds + more)
    assert decide(state, longer, NOW).fire <= decide(state, given_rules, NOW).fire


@given(states, rules, st.sampled_from(["kept_champion", "promoted", "cancelled", "failed"]))
def test_what_fired_never_fires_again_on_the_same_labels(state: PolicyState, given_rules: PolicyRules, status: str) -> None:
    seen, fired = state, []
    for run in range(20):
        verdict = decide(seen, given_rules, NOW)
        if not verdict.fire:
            break
        fired.append((verdict.cause, verdict.slice))
        seen = replace(seen, tried=(*seen.tried, Tried(run, verdict.cause or "", verdict.slice, status)))
    assert not decide(seen, given_rules, NOW).fire
    assert all(fired.count(one) == 1 for one in fired)
    assert len(fired) <= 1 or status != "failed"


@given(states, st.integers(0, 5000))
def test_a_larger_set_asks_for_no_fewer_labels(state: PolicyState, more: int) -> None:
    assert needed(replace(state, known_labels=state.known_labels + more), RULES) >= needed(state, RULES) >= RULES.min_new_labels


@given(st.lists(ago, max_size=20), st.integers(1, 100_000))
def test_a_burst_has_no_pause_and_a_pause_before_it(moments: list[datetime], quiet: int) -> None:
    start, pause = burst_start(moments, quiet), timedelta(seconds=quiet)
    inside = sorted(one for one in moments if start is not None and one >= start)
    assert (start is None) == (not moments)
    assert all(later - earlier < pause for earlier, later in pairwise(inside))
    assert all(start - one >= pause for one in moments if start is not None and one < start)


def test_reasons_say_their_numbers() -> None:
    reason = next(reason for reason in decide(replace(WARM, new_labels=12), RULES, NOW).reasons if reason.code == "new_labels")
    assert reason.text == "12 of 50 new training labels since the last run."
    assert (reason.have, reason.need) == (12, 50)
    grown = next(reason for reason in decide(replace(WARM, known_labels=1000), RULES, NOW).reasons if reason.code == "new_labels")
    assert grown.text == "50 of 100 new training labels since the last run (10% of the 1000 trained on)."


def test_spans_are_said_in_the_largest_unit_that_says_them_whole() -> None:
    reasons = decide(replace(WARM, last_ended=NOW - timedelta(days=1)), replace(RULES, cooldown_seconds=5400), NOW).reasons
    assert "The last run ended more than 90 minutes ago." in [reason.text for reason in reasons]
    reasons = decide(replace(WARM, last_ended=NOW - timedelta(days=3)), replace(RULES, cooldown_seconds=86400), NOW).reasons
    assert "The last run ended more than 1 day ago." in [reason.text for reason in reasons]
