"""The policy's decision: a pure function of what was seen, the rules and the moment."""

from __future__ import annotations

from datetime import datetime

from retrain.policy.causes import causes
from retrain.policy.guards import changed, guards, stands_against
from retrain.policy.state import PolicyRules, PolicyState, Verdict


def decide(state: PolicyState, rules: PolicyRules, now: datetime) -> Verdict:
    """Fire for the first cause that is met and has not had its turn on these labels, when nothing holds it back."""
    called = list(causes(state, rules, now))
    met = [cause for cause in called if cause.reason.met]
    against = [stands_against(state.tried, cause) for cause in met]
    chosen = next((cause for cause, tried in zip(met, against, strict=True) if tried is None), None)
    stale = against[0] if met and chosen is None else next((one for one in state.tried if one.status == "failed"), None)
    held = (*guards(state, rules, now), changed(stale if chosen is None else None))
    reasons = tuple(cause.reason for cause in called) + held
    if chosen is None or not all(reason.met for reason in held):
        return Verdict(False, None, reasons)
    return Verdict(True, chosen.name, reasons, chosen.slice)
