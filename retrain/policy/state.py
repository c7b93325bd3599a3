"""What the policy sees, the rules that it goes by, and what it says. All of it goes into JSON and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

from labelwheel.settings import Settings

TRAINED_TASK = "detect"


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """The thresholds of `decide`, as the settings of the same names give them. Where 0 turns a condition off, the setting says so."""

    first_labels: int
    min_new_labels: int
    cooldown_seconds: int
    first_class_labels: int = 0
    min_new_share: float = 0.0
    drift_new_labels: int = 0
    weak_class_ap: float = 0.0
    weak_class_labels: int = 1
    max_age_days: int = 0
    age_new_labels: int = 1
    label_quiet_seconds: int = 0
    label_quiet_most_seconds: int = 0
    training_quiet_hours: str = ""
    training_seconds_per_day: int = 0
    training_seconds_per_week: int = 0

    @classmethod
    def of(cls, settings: Settings) -> PolicyRules:
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class ClassNews:
    """New training labels with boxes of a class, and the champion's AP50 of it on the holdout. `trained`: some weights have seen the class."""

    new: int = 0
    ap: float | None = None
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Drifted:
    """A source with an open alert, and its new training labels since that was raised."""

    source: str
    new: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """A run that ended on the very labels that stand now."""

    run: int
    cause: str
    slice: dict[str, str] | None
    status: str


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What the policy sees. `new_labels` are training labels that no weights have seen, `known_labels` those that some have; what a
    dataset brought counts nowhere here as new, unless it was asked to.

    `task` is the champion's. `last_ended` is when any run ended last, `trained_at` when the champion was made or last challenged.
    `label_at` is the arrival of the newest new label, `burst_at` of the first in a row without a pause. `spent_*` are seconds of
    training within 24 hours and 7 days. `utc_offset` is the local clock's, in seconds. `paused` says who paused it.
    """

    champion: str | None
    active_run: int | None
    train_labels: int
    holdout_labels: int
    new_labels: int
    finished_runs: int
    last_ended: datetime | None
    task: str = TRAINED_TASK
    known_labels: int = 0
    trained_at: datetime | None = None
    label_at: datetime | None = None
    burst_at: datetime | None = None
    classes: Mapping[str, ClassNews] = field(default_factory=dict)
    drifted: tuple[Drifted, ...] = ()
    tried: tuple[Tried, ...] = ()
    spent_day: int = 0
    spent_week: int = 0
    utc_offset: int = 0
    paused: str | None = None

    @property
    def cold(self) -> bool:
        """Nothing was ever trained, and nothing serves."""
        return self.champion is None and self.finished_runs == 0

    def as_dict(self) -> dict[str, Any]:
        found = asdict(self)
        moments = {name: value.isoformat() if value else None for name, value in found.items() if name in MOMENTS}
        drifted = [{**asdict(one), "since": one.since.isoformat()} for one in self.drifted]
        return {**found, **moments, "drifted": drifted, "tried": [asdict(one) for one in self.tried]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PolicyState:
        """What `as_dict` gave; keys of others are left aside."""
        known = {field.name: data[field.name] for field in fields(cls) if field.name in data}
        moments = {name: datetime.fromisoformat(known[name]) if known.get(name) else None for name in MOMENTS}
        drifted = tuple(Drifted(**{**one, "since": datetime.fromisoformat(one["since"])}) for one in known.get("drifted", ()))
        tried = tuple(Tried(**one) for one in known.get("tried", ()))
        classes = {name: ClassNews(**one) for name, one in known.get("classes", {}).items()}
        return cls(**{**known, **moments, "drifted": drifted, "tried": tried, "classes": classes})


MOMENTS = ("last_ended", "trained_at", "label_at", "burst_at")


@dataclass(frozen=True, slots=True)
class Reason:
    """One condition: what it says and whether it is met; `have` of `need` where it counts something.

    Of those of kind `cause` one is enough; all of kind `guard` are needed.
    """

    code: str
    text: str
    met: bool
    have: int | None = None
    need: int | None = None
    kind: str = "guard"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cause:
    """What may call for a training: its name in `training_run.cause`, the slice that the gate shall look at, and why."""

    name: str
    reason: Reason
    slice: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fire` exactly when a cause and every guard are met; only then `cause` is set, and its `slice` where it has one.

    Causes are cold_start, drift, new_labels, weak_class and age.
    """

    fire: bool
    cause: str | None
    reasons: tuple[Reason, ...]
    slice: dict[str, str] | None = None

    @property
    def calls(self) -> tuple[Reason, ...]:
        return tuple(reason for reason in self.reasons if reason.kind == "cause" and reason.met)

    @property
    def holds(self) -> tuple[Reason, ...]:
        """The guards that are not met."""
        return tuple(reason for reason in self.reasons if reason.kind == "guard" and not reason.met)

    def told(self) -> str:
        """The verdict in one sentence or two."""
        if self.fire:
            return f"A training is due. {self.calls[0].text}"
        if busy := next((reason for reason in self.holds if reason.code == "idle"), None):
            return f"{busy.text} Whether another one is due is asked when it has ended."
        held = " ".join(reason.text for reason in self.holds)
        if not self.calls:
            return f"Nothing calls for a training yet. {held}".strip()
        return f"A training is called for, and waits. {held}"
