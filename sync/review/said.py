"""What somebody says of an item, and whether the item stands where they saw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelwheel.database.tables import QueueItem
from labelwheel.errors import ConflictError, InputError
from sync.review.window import Window

Json = dict[str, Any]

OPEN = ("pending", "pushed")
JUDGED = ("labeled", "approved")
STANDING = (*OPEN, *JUDGED, "rejected", "skipped")
EXPECTED = {"label": (*OPEN, "rejected"), "skip": OPEN, "approve": JUDGED, "reject": JUDGED, "flag": STANDING}


@dataclass(frozen=True, slots=True)
class Said:
    """Who says something of an item, and why. `status` is where it stood when they looked; without it, any that fits the act.

    `again` names what somebody else said meanwhile, as Repeated told it, for whoever gives an earlier answer of theirs once more.
    """

    who: str
    why: str = ""
    status: str | None = None
    again: str = ""

    def __post_init__(self) -> None:
        for name, text, longest in (("who", self.who, 200), ("why", self.why, 500)):
            if not text.isprintable() or len(text) > longest or (name == "who" and not text.strip()):
                raise InputError(f"{name} {text[:40]!r} cannot be stored.", f"Give at most {longest} printable characters.")


class Answered(ConflictError):
    """The item does not stand where the caller saw it; `item` is how it stands, as `sync.queue.show` says it."""

    code = "answered"

    def __init__(self, message: str, cure: str, item: Json) -> None:
        super().__init__(message, cure)
        self.item = item

    def as_dict(self) -> Json:
        return {**super().as_dict(), "item": self.item}


class Elsewhere(Answered):
    """It stands where the act is not expected, and is done all the same for somebody who says that they saw it there."""


class Repeated(Answered):
    """They have said it before, and somebody else has had the last word since: it may be a retry that knows nothing of that.

    It is said once more for somebody who names that last word: `again`.
    """

    def __init__(self, message: str, cure: str, item: Json, again: str) -> None:
        super().__init__(message, cure, item)
        self.again = again

    def as_dict(self) -> Json:
        return {**super().as_dict(), "again": self.again}


def demand(window: Window, item: QueueItem, act: str, said: Said) -> None:
    """Refuse an answer to an item that stands elsewhere than its giver saw it."""
    seen = (said.status,) if said.status else EXPECTED[act]
    allowed = (*seen, *OPEN) if said.status in OPEN else seen  # that an item became a task is nobody's answer
    if item.status not in allowed or item.status == "expired":
        state = window.state(item.id)
        last = state["history"][-1] if state["history"] else {"who": "selection", "at": state["updated_at"]}
        message = f"Item {item.id} is {item.status} (by {last['who']}, {last['at']}), not {' or '.join(seen)}."
        if item.status == "expired":
            raise Answered(message, "Choose another one.", state)
        raise Elsewhere(message, f'Look at it; to {act} it all the same, say that you saw it: status "{item.status}".', state)
