"""What may call for a training, the most telling first. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from retrain.policy.state import Cause, ClassNews, Drifted, PolicyRules, PolicyState, Reason


def causes(state: PolicyState, rules: PolicyRules, now: datetime) -> Iterator[Cause]:
    """Each cause that can be told, met or not. Drift stands before new labels, so that the gate looks at the source that drifted."""
    if state.cold:
        yield Cause("cold_start", _first_labels(state, rules))
        return
    if state.champion is None:
        yield Cause("cold_start", _new_labels(state, rules))
        return
    if rules.drift_new_labels:
        for drifted in sorted(state.drifted, key=lambda one: (-one.new, one.source)):
            yield Cause("drift", _drifted(drifted, rules), {"source": drifted.source})
    yield Cause("new_labels", _new_labels(state, rules))
    for name, news in sorted(state.classes.items(), key=lambda item: (-item[1].new, item[0])):
        if news.new and _is_weak(news, rules):
            yield Cause("weak_class", _weak(name, news, rules), {"class": name})
    if rules.max_age_days and state.trained_at is not None:
        yield Cause("age", _aged(state, state.trained_at, rules, now))


def needed(state: PolicyState, rules: PolicyRules) -> int:
    """New training labels that call for a training: the more weights have seen, the more it takes to add something."""
    return max(rules.min_new_labels, math.ceil(round(rules.min_new_share * state.known_labels, 6)))


def _first_labels(state: PolicyState, rules: PolicyRules) -> Reason:
    have, need = state.train_labels + state.holdout_labels, rules.first_labels
    if have >= need and not state.train_labels:
        return Reason("first_labels", f"All {have} labels are in the holdout: none to train on.", False, 0, 1, "cause")
    text = f"{have} of {need} labels for a first model ({state.train_labels} to train, {state.holdout_labels} to judge)."
    return Reason("first_labels", text, have >= need, have, need, "cause")


def _new_labels(state: PolicyState, rules: PolicyRules) -> Reason:
    need = needed(state, rules)
    share = f" ({rules.min_new_share:.0%} of the {state.known_labels} trained on)" if need > rules.min_new_labels else ""
    text = f"{state.new_labels} of {need} new training labels since the last run{share}."
    return Reason("new_labels", text, state.new_labels >= need, state.new_labels, need, "cause")


def _drifted(drifted: Drifted, rules: PolicyRules) -> Reason:
    need = rules.drift_new_labels
    text = f"{drifted.source} has drifted: {drifted.new} of {need} new training labels of it since {drifted.since:%Y-%m-%d %H:%M} UTC."
    return Reason("drift", text, drifted.new >= need, drifted.new, need, "cause")


def _is_weak(news: ClassNews, rules: PolicyRules) -> bool:
    if not news.trained:
        return rules.weak_class_ap > 0
    return news.ap is not None and news.ap < rules.weak_class_ap


def _weak(name: str, news: ClassNews, rules: PolicyRules) -> Reason:
    need = rules.weak_class_labels
    why = f"is weak (AP50 {news.ap:.2f}, below {rules.weak_class_ap:.2f})" if news.trained else "was never trained on"
    text = f"{name} {why}: {news.new} of {need} new training labels with it."
    return Reason("weak_class", text, news.new >= need, news.new, need, "cause")


def _aged(state: PolicyState, trained_at: datetime, rules: PolicyRules, now: datetime) -> Reason:
    due = trained_at + timedelta(days=rules.max_age_days)
    enough = f"{state.new_labels} of {rules.age_new_labels} new training labels"
    if due > now:
        text = f"From {due:%Y-%m-%d %H:%M} UTC on, {rules.max_age_days} days after the last training: {enough}."
        return Reason("age", text, False, kind="cause")
    text = f"The last training is more than {rules.max_age_days} days ago: {enough}."
    return Reason("age", text, state.new_labels >= rules.age_new_labels, state.new_labels, rules.age_new_labels, "cause")
