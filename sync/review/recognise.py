"""Recognise an answer that was given before: by its key, else by who said it and what it says.

An annotation carries a key made of who answered what, and after what: as `unique_id`, of which Label Studio takes one, and as
`import_id`, which its lists show.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from labelwheel.database.tables import Answer, Review
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.label_config import parse
from sync.exchange.mirror import identity
from sync.review.said import Said, demand
from sync.review.turn import Turn, last_word
from sync.review.window import Window

Json = dict[str, Any]

EQUAL = 0.01  # pixels by which an edge of the same box may be off: Label Studio keeps percent


@dataclass(frozen=True, slots=True)
class Key:
    """What makes an annotation known as a certain answer, given once: a UUID for `unique_id`, 52 bits for `import_id` (JavaScript keeps no more)."""

    unique_id: str
    import_id: int


def key_of(act: str, turn: Turn, who: str, content: Sequence[Any]) -> Key:
    """The key of an answer to what was said last of the task, so that the same one may be given again after another.

    The task's moment of creation is in it: Label Studio gives ids again, and takes a `unique_id` once per server.
    """
    last = last_word(turn.task)
    after = [last["id"], last["created_at"], last["updated_at"]] if last else []
    said = [turn.task["id"], turn.task["created_at"], turn.key, act, who, after, sorted(content)]
    digest = hashlib.sha256(json.dumps(said).encode()).digest()
    return Key(str(uuid.UUID(bytes=digest[:16])), int.from_bytes(digest[16:23], "big") >> 4 or 1)


def is_there(task: Json, key: Key) -> bool:
    """Whether the answer of this key is an annotation of the task."""
    return any(annotation.get("import_id") == key.import_id for annotation in task.get("annotations") or [])


def as_known(turn: Turn, said: Said) -> Said:
    """By the address that Label Studio has of them: under another spelling of it a person would be two, and agree with themselves."""
    address = next((address for address in turn.people.values() if address.casefold() == said.who.casefold()), said.who)
    return replace(said, who=address)


def is_last_word(window: Window, turn: Turn, act: str, said: Said, boxes: Sequence[LabelledBox]) -> bool:
    """Whether this very answer is what was said last of the task, and stands as it was given: then it comes again, and is not written.

    Given again after another one, or after an edit, it is a new answer. So it is after it was rejected or withdrawn, for somebody who
    says where the item stands now; Elsewhere for somebody who does not.
    """
    last = last_word(turn.task)
    if last is None or not _is_answer(window, turn, last, act, said.who) or not _says(window, turn, last, act, boxes):
        return False
    if not _is_refused(window, last):
        return True
    demand(window, turn.item, act, said if said.status else replace(said, status="pushed"))
    return False


def _is_refused(window: Window, annotation: Json) -> bool:
    """Whether what was said last of an annotation is that it does not count."""
    mine = (Review.project_id == window.project.id, Review.unique_id == identity(annotation), Review.verdict != "submitted")
    with window.database.read() as session:
        said = session.scalar(select(Review.verdict).where(*mine).order_by(Review.id.desc()).limit(1))
    return said in ("rejected", "withdrawn")


def _is_answer(window: Window, turn: Turn, annotation: Json, act: str, who: str) -> bool:
    """Whether an annotation is an answer of theirs that came through a door of ours."""
    mine = (Answer.project_id == window.project.id, Answer.key == turn.key, Answer.digest == (annotation.get("import_id") or 0))
    with window.database.read() as session:
        return session.scalar(select(Answer.id).where(*mine, Answer.act == act, Answer.who == who)) is not None


def _says(window: Window, turn: Turn, annotation: Json, act: str, boxes: Sequence[LabelledBox]) -> bool:
    if act == "skip" or annotation.get("was_cancelled"):
        return act == "skip" and bool(annotation.get("was_cancelled"))
    image, tags = turn.item.image, parse(window.project.label_config)
    drawn, left_out = from_regions(annotation.get("result") or [], tags, image.width, image.height)
    same = len(drawn) == len(boxes) and all(any(_equal(box, other) for other in drawn) for box in boxes)
    return same and not left_out


def _equal(one: LabelledBox, other: LabelledBox) -> bool:
    off = (abs(a - b) for a, b in zip(one.box.as_tuple(), other.box.as_tuple(), strict=True))
    return one.label == other.label and max(off) <= EQUAL
