"""Answers to queue items that come through a door of ours, each written to Label Studio, so that there is one truth.

A label becomes an annotation there, a skip a cancelled one, an approval the ground-truth star; what Label Studio has no place for,
who approved, rejected or flagged and why, is a row in `review`. Afterwards the task is mirrored as the pull does it. A label that stands with us
alone, for Label Studio lost it, is judged without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labelwheel.database.tables import QueueEvent, QueueItem
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import to_drawn
from labelwheel.vision.label_config import parse
from sync.exchange.mirror import identity
from sync.review.annotate import annotate
from sync.review.fit import drawable, fitted
from sync.review.recognise import as_known, is_last_word, key_of, refuse_repeated
from sync.review.said import Answered, Said, demand
from sync.review.states import because
from sync.review.turn import look_again, newest, take_turn
from sync.review.verdict import give
from sync.review.window import Window

Json = dict[str, Any]

FLAGGED_PRIORITY = 2.0  # before audits, which have 1


def label(window: Window, item_id: int, boxes: Sequence[LabelledBox], said: Said, seconds: float | None = None) -> Json:
    """Submit a label: boxes in pixels of the upright image; none of them says "nothing is there". `seconds`: how long it took.

    Answers the item as it stands then. Raises NotFoundError, InputError for a box that cannot be drawn, Answered (409), LabelStudioError.
    """
    image, tags = window.item(item_id).image, parse(window.project.label_config)
    boxes = [fitted(box, image.width, image.height) for box in drawable(boxes, tags, window.classes())]
    to_drawn(boxes, tags, image.width, image.height, "")  # what cannot be drawn makes no task
    with take_turn(window, item_id, "label", said) as turn:
        said = as_known(turn, said)
        if is_last_word(window, turn, "label", said, boxes):
            return window.state(item_id)
        content = [[box.label, *box.box.as_tuple()] for box in boxes]
        refuse_repeated(window, turn, "label", said, content)
        key = key_of("label", turn, said.who, content)
        result = to_drawn(boxes, tags, image.width, image.height, f"{key.unique_id[:8]}-")
        fields = {"lead_time": seconds} if seconds is not None else {}
        return annotate(window, turn, "label", said, key, result=result, **fields)


def skip(window: Window, item_id: int, said: Said) -> Json:
    """Say that nobody can or shall label the item: a cancelled annotation in Label Studio. Answers and raises as `label`."""
    with take_turn(window, item_id, "skip", said) as turn:
        said = as_known(turn, said)
        if is_last_word(window, turn, "skip", said, []):
            return window.state(item_id)
        refuse_repeated(window, turn, "skip", said, [])
        return annotate(window, turn, "skip", said, key_of("skip", turn, said.who, []), result=[], was_cancelled=True)


def approve(window: Window, item_id: int, said: Said) -> Json:
    """Approve the newest label of the item: it gets the ground-truth star in Label Studio. Answers and raises as `label`."""
    return _judge(window, item_id, "approve", "approved", said, starred=True)


def reject(window: Window, item_id: int, said: Said) -> Json:
    """Reject the newest label of the item; a star that it has goes. Answers and raises as `label`."""
    return _judge(window, item_id, "reject", "rejected", said, starred=False)


def flag(window: Window, item_id: int, said: Said) -> Json:
    """Ask for a look before all others; a label counts no longer until somebody approves it. Answers and raises as `label`.

    It waits for no task: a pending item is pushed as urgent.
    """
    with take_turn(window, item_id, "flag", said, push=False) as turn:
        demand(window, turn.item, "flag", said)
        if turn.task and turn.task["data"].get("priority") != FLAGGED_PRIORITY:
            window.client.update_task(turn.task["id"], {**turn.task["data"], "priority": FLAGGED_PRIORITY})
        _raise_priority(window, item_id, said)
        annotation = newest(turn.annotations)
        if annotation:
            _say(window, annotation, "flagged", said)
        return window.state(item_id)


def _judge(window: Window, item_id: int, act: str, verdict: str, said: Said, *, starred: bool) -> Json:
    """The verdict first: a star that we set is then never taken for a person's own, and one that was not set is set by a retry."""
    with take_turn(window, item_id, act, said, push=False) as turn:
        annotation = newest(turn.annotations)
        if annotation is None:
            raise Answered(f"Item {item_id} has no label yet.", "Label it first.", window.state(item_id))
        demand(window, turn.item, act, said)
        _say(window, annotation, verdict, said)
        if annotation not in turn.kept and bool(annotation.get("ground_truth")) != starred:
            window.client.star_annotation(annotation["id"], starred)
            look_again(window, turn)
        return window.state(item_id)


def _say(window: Window, annotation: Json, verdict: str, said: Said) -> None:
    with window.database.write() as session:
        give(session, window.project, window.reading, identity(annotation), verdict, said.who, said.why)


def _raise_priority(window: Window, item_id: int, said: Said) -> None:
    with window.database.write() as session:
        item = session.get_one(QueueItem, item_id)
        if item.priority < FLAGGED_PRIORITY:
            item.priority = FLAGGED_PRIORITY
            session.add(QueueEvent(queue_item_id=item_id, status=item.status, who=said.who, why=because("flagged", said.why)[:500]))
