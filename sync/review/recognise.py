"""Recognise an answer that was given before: by its key, else by who said it and what it says.

An annotation carries a key made of who answered what, and after what: as `unique_id`, of which Label Studio takes one, and as
`import_id`, which its lists show.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from labelwheel.database.tables import AnnotationRevision, Answer, Review
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions
from labelwheel.vision.label_config import parse
from sync.exchange.mirror import identity
from sync.review.said import Repeated, Said, demand
from sync.review.settle import as_revision, as_verdict
from sync.review.states import states
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
    return _key(act, turn, who, content, _stamp(last_word(turn.task)))


def _stamp(annotation: Mapping[str, Any] | None) -> list[Any]:
    """Which annotation it is, and in which state; empty before anybody has said anything."""
    return [annotation[name] for name in ("id", "created_at", "updated_at")] if annotation else []


def _key(act: str, turn: Turn, who: str, content: Sequence[Any], after: list[Any]) -> Key:
    said = [turn.task["id"], turn.task["created_at"], turn.key, act, who, after, sorted(content)]
    digest = _digest(said)
    return Key(str(uuid.UUID(bytes=digest[:16])), int.from_bytes(digest[16:23], "big") >> 4 or 1)


def _digest(said: list[Any]) -> bytes:
    return hashlib.sha256(json.dumps(said).encode()).digest()


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


def refuse_repeated(window: Window, turn: Turn, act: str, said: Said, content: Sequence[Any]) -> None:
    """Raises Repeated when they gave this very answer before, it is on the task, and somebody else has had the last word since.

    A retry of an answer that was lost looks just so, and must not undo what it knows nothing of. Who was told, and names that last word
    as `said.again`, says the same again on purpose. After an answer of their own they need not.
    """
    last = last_word(turn.task)
    again = _digest(_stamp(last)).hex()[:12]
    if last is None or said.again == again or not _was_given(window, turn, act, said.who, content):
        return
    state, other = window.state(turn.item.id), _author(window, last)
    if other.casefold() != said.who.casefold():
        message = f"{said.who} has said this of item {turn.item.id} before, and {other} has said otherwise since."
        raise Repeated(message, f'Look at it; to {act} it so again, send again "{again}" and status "{state["status"]}".', state, again)


def _was_given(window: Window, turn: Turn, act: str, who: str, content: Sequence[Any]) -> bool:
    """Whether this very answer of theirs is among the annotations: given to whatever was said last of the task then."""
    there = {annotation["import_id"] for annotation in turn.task.get("annotations") or [] if annotation.get("import_id")}
    mine = (Answer.project_id == window.project.id, Answer.key == turn.key, Answer.digest.in_(there))
    said = select(AnnotationRevision.body).where(AnnotationRevision.project_id == window.project.id, AnnotationRevision.key == turn.key)
    with window.database.read() as session:
        given = set(session.scalars(select(Answer.digest).where(*mine, Answer.act == act, Answer.who == who)))
        stamps = [[], *(_stamp(body) for body in session.scalars(said) if body.get("id"))] if given else []  # an erased image's are empty
    return any(_key(act, turn, who, content, stamp).import_id in given for stamp in stamps)


def _author(window: Window, annotation: Json) -> str:
    """Who left an annotation as it stands."""
    mine = (AnnotationRevision.project_id == window.project.id, AnnotationRevision.unique_id == identity(annotation))
    said = (Review.project_id == window.project.id, Review.unique_id == identity(annotation))
    with window.database.read() as session:
        revisions = [as_revision(row) for row in session.scalars(select(AnnotationRevision).where(*mine))]
        verdicts = [as_verdict(row) for row in session.scalars(select(Review).where(*said))]
    return states(revisions, verdicts)[-1].author


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
