"""What `labelwheel select` says: what was or would be chosen, why, and what was left out for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from labelwheel.database import get_database
from labelwheel.database.tables import utcnow
from labelwheel.pause import paused, told
from labelwheel.project import current_project
from labelwheel.settings import Settings
from sync.selection.select import Outlook, free_captures, look_out, select_captures

NOTHING_LEFT = "No capture is left to choose from: send images, or see `labelwheel queue --all` for those that were chosen."


def preview(settings: Settings) -> dict[str, Any]:
    """What would be chosen now, as JSON-ready rows; nothing is written, and no model looks."""
    with get_database().read() as session:
        pause = paused(session, current_project(session, settings).id)
    if pause is not None:
        return _nothing(told(pause))
    outlook = look_out(get_database(), settings, utcnow(), let_look=False)
    return _nothing(_why_waiting(settings)) if outlook is None else _as_dict(outlook)


def _why_waiting(settings: Settings) -> str:
    count = free_captures(get_database(), settings, utcnow())
    if not count:
        return NOTHING_LEFT
    enough = 4 * settings.first_batch
    return (
        f"Captures still arrive, {count} so far: without a model, a first batch waits until none has come for {settings.settle_seconds} s, "
        f"or {enough} are there."
    )


def select_now(settings: Settings) -> int:
    """Select as the scheduler does; how many items came into the queue."""
    return select_captures(get_database(), settings, utcnow())


def lines(found: dict[str, Any]) -> Iterator[str]:
    """The same in words, below the table of choices."""
    if found["why_nothing"]:
        yield found["why_nothing"]
        return
    chosen = Counter(choice["reason"] for choice in found["choices"])
    budget = found["budget"]
    yield f"{_many(len(found['choices']))} would be chosen ({_parts(chosen)}); {budget} of the budget are left beside audits."
    if not found["choices"] and not found["left_out"]:
        yield NOTHING_LEFT
    if found["left_out"]:
        yield f"Left out: {_parts(found['left_out'])}."


def _as_dict(outlook: Outlook) -> dict[str, Any]:
    choices = outlook.selection.choices
    return {
        "kind": outlook.kind,
        "model_version": outlook.served_as,
        "budget": outlook.rules.budget,
        "choices": [
            {
                "reason": choice.reason,
                "priority": choice.priority,
                "source": choice.candidate.source,
                "capture": choice.candidate.capture_id,
                "image": choice.candidate.image_id,
                "scores": choice.scores,
            }
            for choice in choices
        ],
        "left_out": {why: count for why, count in sorted(outlook.left_out.items()) if count},
        "near_duplicates": [
            {"capture": entry.candidate.capture_id, "of_image": entry.of}
            for entry in outlook.selection.left_out
            if entry.why == "near_duplicate"
        ],
        "why_nothing": "",
    }


def _nothing(why: str) -> dict[str, Any]:
    return {"kind": None, "model_version": None, "budget": 0, "choices": [], "left_out": {}, "near_duplicates": [], "why_nothing": why}


def _parts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()) or "none"


def _many(count: int) -> str:
    return f"{count} capture{'' if count == 1 else 's'}"
