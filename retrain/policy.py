"""When to retrain: a pure decision on counted rows, each condition in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from labelwheel.database.tables import ACTIVE_RUN_STATUSES, Decision, Project, TrainingRun, utcnow
from labelwheel.serving import newest_deployment
from labelwheel.settings import Settings
from retrain.dataset import labels

KIND = "policy"
TRAINED_TASK = "detect"


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The thresholds of `decide`, as the settings of the same names give them."""

    first_labels: int
    min_new_labels: int
    cooldown_seconds: int

    @classmethod
    def of(cls, settings: Settings) -> PolicyRules:
        return cls(settings.first_labels, settings.min_new_labels, settings.cooldown_seconds)


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What the policy sees. `new_labels` are training labels that no weights have seen; what a dataset brought counts nowhere here,
    unless it was asked to.

    `task` is the champion's. `failed_run` is the last run if it failed and no label came since; `last_ended` is when any run ended last.
    """

    champion: str | None
    active_run: int | None
    train_labels: int
    holdout_labels: int
    new_labels: int
    finished_runs: int
    last_ended: datetime | None
    failed_run: int | None
    task: str = TRAINED_TASK

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "last_ended": self.last_ended.isoformat() if self.last_ended else None}


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition: what it says and whether it is met; `have` of `need` where it counts something."""

    code: str
    text: str
    met: bool
    have: int | None = None
    need: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fire` exactly when every reason is met; `cause` (cold_start or new_labels) is then set."""

    fire: bool
    cause: str | None
    reasons: tuple[Reason, ...]


def decide(state: PolicyState, rules: PolicyRules, now: datetime) -> Verdict:
    """Fire when nothing runs, labels suffice, the last run is long enough ago and the cause is a new one."""
    cold = state.champion is None and state.finished_runs == 0
    enough = _first_labels(state, rules) if cold else _new_labels(state, rules)
    reasons = (_idle(state), enough, _rested(state, rules, now), _changed(state), *_trainable(state))
    fire = all(reason.met for reason in reasons)
    cause = "cold_start" if state.champion is None else "new_labels"
    return Verdict(fire, cause if fire else None, reasons)


def observe(session: Session, project: Project, settings: Settings) -> PolicyState:
    """Count what `decide` needs."""
    standing, splits = labels.approved(session, project.id), labels.splits(session, project.id)
    brought = labels.brought(session, project.id)
    by_split = Counter(splits.get(image_id, "quarantined") for image_id, label_id in standing.items() if label_id not in brought)
    trainable = {label_id for image_id, label_id in standing.items() if splits.get(image_id) == "train"}
    runs = _runs(session, project.id)
    deployment = newest_deployment(session, project.id)
    return PolicyState(
        champion=deployment.model_version.title if deployment else None,
        active_run=next((run.id for run in runs if run.status in ACTIVE_RUN_STATUSES), None),
        train_labels=by_split["train"],
        holdout_labels=by_split["holdout"],
        new_labels=len(trainable - labels.consumed(session, project.id)),
        finished_runs=sum(run.status in labels.FINISHED for run in runs),
        last_ended=max((run.finished_at for run in runs if run.finished_at), default=None),
        failed_run=_failed_for_the_same(runs, max(standing.values(), default=0)),
        task=deployment.model_version.task if deployment else TRAINED_TASK,
    )


def conditions(session: Session, project: Project, settings: Settings, now: datetime | None = None) -> dict[str, Any]:
    """The verdict of this moment as JSON: `should_retrain`, `cause`, `reasons` and the `inputs` seen."""
    state = observe(session, project, settings)
    verdict = decide(state, PolicyRules.of(settings), now or utcnow())
    return {
        "should_retrain": verdict.fire,
        "cause": verdict.cause,
        "reasons": [reason.as_dict() for reason in verdict.reasons],
        "inputs": state.as_dict(),
    }


def record(session: Session, project_id: int, verdict: Verdict, state: PolicyState, rules: PolicyRules) -> Decision:
    """Store a decision with what it saw, unless the newest one says the same of the same: a tick is no news."""
    inputs = {**state.as_dict(), "rules": asdict(rules)}
    name = "retrain" if verdict.fire else "wait"
    newest = session.scalar(
        select(Decision).where(Decision.project_id == project_id, Decision.kind == KIND).order_by(Decision.id.desc()).limit(1)
    )
    if newest is not None and (newest.verdict, newest.inputs) == (name, inputs):
        return newest
    reasons = [reason.as_dict() for reason in verdict.reasons]
    decision = Decision(project_id=project_id, kind=KIND, verdict=name, reasons=reasons, inputs=inputs)
    session.add(decision)
    session.flush()
    return decision


def _idle(state: PolicyState) -> Reason:
    if state.active_run is None:
        return Reason("idle", "No training is under way.", True)
    return Reason("idle", f"Training {state.active_run} is under way.", False)


def _first_labels(state: PolicyState, rules: PolicyRules) -> Reason:
    have = state.train_labels + state.holdout_labels
    if have >= rules.first_labels and not state.train_labels:
        return Reason("first_labels", f"All {have} labels are in the holdout: none to train on.", False, 0, 1)
    text = f"{have} of {rules.first_labels} labels for a first model ({state.train_labels} to train, {state.holdout_labels} to judge)."
    return Reason("first_labels", text, have >= rules.first_labels, have, rules.first_labels)


def _new_labels(state: PolicyState, rules: PolicyRules) -> Reason:
    text = f"{state.new_labels} of {rules.min_new_labels} new training labels since the last run."
    return Reason("new_labels", text, state.new_labels >= rules.min_new_labels, state.new_labels, rules.min_new_labels)


def _rested(state: PolicyState, rules: PolicyRules, now: datetime) -> Reason:
    if state.last_ended is None:
        return Reason("cooldown", "No run has ended yet.", True)
    rested = state.last_ended + timedelta(seconds=rules.cooldown_seconds)
    if rested <= now:
        return Reason("cooldown", f"The last run ended more than {rules.cooldown_seconds} s ago.", True)
    # A moment, not a countdown: the page's ETag shall change only when something did.
    return Reason("cooldown", f"The last run ended less than {rules.cooldown_seconds} s ago: wait until {rested:%H:%M:%S} UTC.", False)


def _changed(state: PolicyState) -> Reason:
    if state.failed_run is None:
        return Reason("changed", "No failure stands in the way.", True)
    return Reason("changed", f"Training {state.failed_run} failed on these same labels: add labels, or start one by hand.", False)


def _trainable(state: PolicyState) -> list[Reason]:
    """Only said where it stands in the way."""
    return [] if state.task == TRAINED_TASK else [Reason("task", why_not(state.task), False)]


def why_not(task: str) -> str:
    """Why a champion of this task is not retrained."""
    return f"The champion's task is {task}: it pre-annotates, and the wheel trains on rectangles alone."


def _runs(session: Session, project_id: int) -> list[TrainingRun]:
    return list(session.scalars(select(TrainingRun).where(TrainingRun.project_id == project_id).order_by(TrainingRun.id)))


def _failed_for_the_same(runs: list[TrainingRun], newest_label: int) -> int | None:
    last = runs[-1] if runs else None
    if last is None or last.status != "failed":
        return None
    seen: Mapping[str, Any] = last.metrics or {}
    return last.id if newest_label <= seen.get("newest_label", newest_label) else None
