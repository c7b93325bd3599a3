"""What may hold a training back although it is called for. Those that are not in use are not told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from labelwheel.hours import open_at, until
from retrain.policy.state import TRAINED_TASK, Cause, PolicyRules, PolicyState, Reason, Tried

CALLED = {
    "cold_start": "for the first model",
    "new_labels": "for new labels",
    "drift": "for a drifted source",
    "weak_class": "for a weak class",
    "age": "for the model's age",
    "manual": "by hand",
}


def guards(state: PolicyState, rules: PolicyRules, now: datetime) -> Iterator[Reason]:
    """All but `changed`, which depends on the cause."""
    yield _idle(state)
    yield _rested(state, rules, now)
    yield _settled(state, rules, now)
    if state.cold and rules.first_class_labels:
        yield _every_class(state, rules)
    if rules.training_quiet_hours:
        yield _allowed_hour(state, rules, now)
    for name, spent, budget in (
        ("24 hours", state.spent_day, rules.training_seconds_per_day),
        ("7 days", state.spent_week, rules.training_seconds_per_week),
    ):
        if budget:
            yield _within_budget(name, spent, budget)
    if state.paused:
        yield Reason("paused", state.paused, False)
    if state.task != TRAINED_TASK:
        yield Reason("task", why_not(state.task), False)


def why_not(task: str) -> str:
    """Why a champion of this task is not retrained."""
    return f"The champion's task is {task}: it pre-annotates, and the wheel trains on rectangles alone."


def stands_against(tried: Sequence[Tried], cause: Cause) -> Tried | None:
    """The run that says that this cause has had its turn: one for the same cause and slice on the same labels, or one that failed on them."""
    return next((one for one in tried if one.status == "failed" or (one.cause, one.slice) == (cause.name, cause.slice)), None)


def changed(tried: Tried | None) -> Reason:
    """Whether the chosen cause is a new one; `tried` is the run that stands against it."""
    if tried is None:
        return Reason("changed", "No earlier run on these labels stands in the way.", True)
    how = {"failed": "failed", "cancelled": "was cancelled"}.get(tried.status, "ended")
    text = f"Training {tried.run} ({CALLED.get(tried.cause, tried.cause)}) {how} on these same labels: add labels, or start one by hand."
    return Reason("changed", text, False)


def _idle(state: PolicyState) -> Reason:
    if state.active_run is None:
        return Reason("idle", "No training is under way.", True)
    return Reason("idle", f"Training {state.active_run} is under way.", False)


def _span(seconds: int) -> str:
    """In the largest unit that says it whole."""
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}{'s' if seconds > size else ''}"
    return f"{seconds} s"


# Moments, not countdowns: the page's ETag shall change only when something did.


def _rested(state: PolicyState, rules: PolicyRules, now: datetime) -> Reason:
    if state.last_ended is None:
        return Reason("cooldown", "No run has ended yet.", True)
    rested = state.last_ended + timedelta(seconds=rules.cooldown_seconds)
    if rested <= now:
        return Reason("cooldown", f"The last run ended more than {_span(rules.cooldown_seconds)} ago.", True)
    return Reason("cooldown", f"The last run ended less than {_span(rules.cooldown_seconds)} ago: wait until {rested:%H:%M:%S} UTC.", False)


def _settled(state: PolicyState, rules: PolicyRules, now: datetime) -> Reason:
    if state.label_at is None or state.burst_at is None:
        return Reason("settled", "No label is new.", True)
    quiet, most = rules.label_quiet_seconds, max(rules.label_quiet_most_seconds, rules.label_quiet_seconds)
    if state.label_at + timedelta(seconds=quiet) <= now:
        return Reason("settled", f"No label has come for more than {_span(quiet)}.", True)
    patience = state.burst_at + timedelta(seconds=most)
    if patience <= now:
        return Reason("settled", f"Labels have been coming for more than {_span(most)}: it waits no longer.", True)
    text = f"Labels are still coming: wait for {_span(quiet)} without one, at most until {patience:%H:%M:%S} UTC."
    return Reason("settled", text, False)


def _every_class(state: PolicyState, rules: PolicyRules) -> Reason:
    need = rules.first_class_labels
    short = {name: news.new for name, news in sorted(state.classes.items()) if news.new < need}
    if not short:
        return Reason("class_floor", f"Every class has {need} training labels for a first model.", True)
    text = (
        f"A first model needs {need} training labels with each class: {', '.join(f'{name} has {count}' for name, count in short.items())}."
    )
    return Reason("class_floor", text, False, min(short.values()), need)


def _allowed_hour(state: PolicyState, rules: PolicyRules, now: datetime) -> Reason:
    local = (now + timedelta(seconds=state.utc_offset)).time()
    if open_at(rules.training_quiet_hours, local):
        return Reason("quiet_hours", f"It is outside the quiet hours ({rules.training_quiet_hours}).", True)
    end = until(rules.training_quiet_hours, local)
    return Reason("quiet_hours", f"Quiet hours ({rules.training_quiet_hours}): wait until {end:%H:%M} local time.", False)


def _within_budget(name: str, spent: int, budget: int) -> Reason:
    text = f"{spent} of {budget} training seconds are spent in the last {name}."
    return Reason(f"budget_{'day' if name == '24 hours' else 'week'}", text, spent < budget, spent, budget)
