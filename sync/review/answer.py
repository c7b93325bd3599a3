"""Answers to queue items that come through a door of ours, each written to Label Studio, so that there is one truth.

A label becomes an annotation there, a skip a cancelled one, an approval the ground-truth star; what Label Studio has no place for,
who approved, rejected or flagged and why, is a row in `review`. Afterwards the task is mirrored as the pull does it.

Exactly once in effect. An annotation carries a key made of who answered what, and after what: as `unique_id`, of which Label Studio takes one, and as
`import_id`, which its lists show. So a double click, a retry after an answer that was lost, or after a kill at any line, finds what is
there and writes nothing. The key is noted in `answer` first: whoever mirrors the annotation knows its author.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select

from labelwheel.database import Database
from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import Answer, LsTask, Project, QueueEvent, QueueItem, Review, utcnow
from labelwheel.errors import ConflictError, InputError, LabelStudioError
from labelwheel.labelstudio.client import KEY
from labelwheel.labelstudio.port import Studio
from labelwheel.lease import HeldLease, hold
from labelwheel.project import current_classes, current_project
from labelwheel.settings import Settings
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import shown_under
from labelwheel.vision.detection import LabelledBox
from labelwheel.vision.drawn import from_regions, to_drawn
from labelwheel.vision.label_config import ControlTag, parse, trained_tags
from sync.exchange.desk import Desk
from sync.exchange.mirror import identity, mirror_tasks
from sync.exchange.push import push_item
from sync.exchange.reset import held
from sync.exchange.task import task_key
from sync.queue import find, show
from sync.review.authors import name_authors
from sync.review.reading import Reading, reading_of
from sync.review.settle import settle
from sync.review.states import because
from sync.review.verdict import give

Json = dict[str, Any]

OPEN = ("pending", "pushed")
JUDGED = ("labeled", "approved")
STANDING = (*OPEN, *JUDGED, "rejected", "skipped")
EXPECTED = {"label": (*OPEN, "rejected"), "skip": OPEN, "approve": JUDGED, "reject": JUDGED, "flag": STANDING}
FLAGGED_PRIORITY = 2.0  # before audits, which have 1

PATIENCE_SECONDS = 10.0  # for somebody who answers the same item, and for a pull under way
LEASE_SECONDS = 30.0  # a killed door blocks its item no longer
EQUAL = 0.01  # pixels by which an edge of the same box may be off: Label Studio keeps percent
SLACK = 1.0  # pixels by which a box may stick out of its image


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


@dataclass(frozen=True, slots=True)
class Said:
    """Who says something of an item, and why. `status` is where it stood when they looked; without it, any that fits the act."""

    who: str
    why: str = ""
    status: str | None = None

    def __post_init__(self) -> None:
        for name, text, longest in (("who", self.who, 200), ("why", self.why, 500)):
            if not text.isprintable() or len(text) > longest or (name == "who" and not text.strip()):
                raise InputError(f"{name} {text[:40]!r} cannot be stored.", f"Give at most {longest} printable characters.")


@dataclass(frozen=True, slots=True)
class Key:
    """What makes an annotation known as a certain answer, given once: a UUID for `unique_id`, 52 bits for `import_id` (JavaScript keeps no more)."""

    unique_id: str
    import_id: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One answer under way: its item, the task's key, the task as Label Studio has it ({} before the push), people's addresses by id."""

    item: QueueItem
    key: str
    task: Json
    people: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Window:
    """Where answers are given: one project, its Label Studio, and how its annotations are read."""

    database: Database
    settings: Settings
    client: Studio
    project: Project
    reading: Reading


def open_window(database: Database, settings: Settings, client: Studio) -> Window:
    """What the verbs below work with; errors are those of `current_project` and `reading_of`. ConflictError while the pull is held."""
    with database.read() as session:
        project = current_project(session, settings)
        reading, pause = reading_of(session, project, settings), held(session, project.id)
    if pause:
        raise ConflictError(f"Label Studio is not believed just now: {pause.why}", "`labelwheel doctor` says what to decide.")
    return Window(database, settings, client, project, reading)


def label(window: Window, item_id: int, boxes: Sequence[LabelledBox], said: Said, seconds: float | None = None) -> Json:
    """Submit a label: boxes in pixels of the upright image; none of them says "nothing is there". `seconds`: how long it took.

    Answers the item as it stands then. Raises NotFoundError, InputError for a box that cannot be drawn, Answered (409), LabelStudioError.
    """
    image, tags = _item(window, item_id).image, parse(window.project.label_config)
    boxes = [fitted(box, image.width, image.height) for box in drawable(boxes, tags, _classes(window))]
    to_drawn(boxes, tags, image.width, image.height, "")  # what cannot be drawn makes no task
    with _turn(window, item_id, "label", said) as turn:
        said = _as_known(turn, said)
        if _is_last_word(window, turn, "label", said, boxes):
            return _state(window, item_id)
        key = key_of("label", turn, said.who, [[box.label, *box.box.as_tuple()] for box in boxes])
        result = to_drawn(boxes, tags, image.width, image.height, f"{key.unique_id[:8]}-")
        fields = {"lead_time": seconds} if seconds is not None else {}
        return _annotate(window, turn, "label", said, key, result=result, **fields)


def skip(window: Window, item_id: int, said: Said) -> Json:
    """Say that nobody can or shall label the item: a cancelled annotation in Label Studio. Answers and raises as `label`."""
    with _turn(window, item_id, "skip", said) as turn:
        said = _as_known(turn, said)
        if _is_last_word(window, turn, "skip", said, []):
            return _state(window, item_id)
        return _annotate(window, turn, "skip", said, key_of("skip", turn, said.who, []), result=[], was_cancelled=True)


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
    with _turn(window, item_id, "flag", said, push=False) as turn:
        _demand(window, turn.item, "flag", said)
        if turn.task and turn.task["data"].get("priority") != FLAGGED_PRIORITY:
            window.client.update_task(turn.task["id"], {**turn.task["data"], "priority": FLAGGED_PRIORITY})
        _raise_priority(window, item_id, said)
        annotation = newest(turn.task)
        if annotation:
            _say(window, annotation, "flagged", said)
        return _state(window, item_id)


def _raise_priority(window: Window, item_id: int, said: Said) -> None:
    with window.database.write() as session:
        item = session.get_one(QueueItem, item_id)
        if item.priority < FLAGGED_PRIORITY:
            item.priority = FLAGGED_PRIORITY
            session.add(QueueEvent(queue_item_id=item_id, status=item.status, who=said.who, why=because("flagged", said.why)[:500]))


def fitted(box: LabelledBox, width: int, height: int) -> LabelledBox:
    """The box within its image. Raises InputError when it has no area there, or sticks out by more than a pixel: wrong units, mostly."""
    if box.box.x2 <= box.box.x1 or box.box.y2 <= box.box.y1:
        raise InputError(
            f"The box {list(box.box.as_tuple())} has no area.", "Give left, top, right, bottom: right and bottom are the larger."
        )
    inside = box.box.clipped(width, height)
    off = max((abs(a - b) for a, b in zip(inside.as_tuple(), box.box.as_tuple(), strict=True)), default=0.0)
    if not (inside.valid and off <= SLACK):
        raise InputError(
            f"The box {list(box.box.as_tuple())} does not lie in the image of {width} × {height} pixels.",
            "Give left, top, right, bottom in pixels of the upright image (EXIF turns it).",
        )
    return LabelledBox(box.label, inside, box.region_id, box.origin)


def drawable(boxes: Iterable[LabelledBox], tags: Sequence[ControlTag], classes: ClassMap) -> list[LabelledBox]:
    """The boxes under labels of the label config: a class that was renamed is drawn by the label that shows it. Others stay as they are."""
    mine = shown_under(trained_tags(tags), classes)
    return [replace(box, label=_drawn_by(box.label, mine)) for box in boxes]


def _drawn_by(label: str, tags: Sequence[ControlTag]) -> str:
    if any(label in tag.labels for tag in tags):
        return label
    return next((found[0] for tag in tags if (found := tag.shows(label, 0))), label)


def key_of(act: str, turn: Turn, who: str, content: Sequence[Any]) -> Key:
    """The key of an answer to what was said last of the task, so that the same one may be given again after another.

    The task's moment of creation is in it: Label Studio gives ids again, and takes a `unique_id` once per server.
    """
    last = _last(turn.task)
    after = [last["id"], last["created_at"], last["updated_at"]] if last else []
    said = [turn.task["id"], turn.task["created_at"], turn.key, act, who, after, sorted(content)]
    digest = hashlib.sha256(json.dumps(said).encode()).digest()
    return Key(str(uuid.UUID(bytes=digest[:16])), int.from_bytes(digest[16:23], "big") >> 4 or 1)


@contextmanager
def _turn(window: Window, item_id: int, act: str, said: Said, *, push: bool = True) -> Iterator[Turn]:
    """The item for one answer at a time, as Label Studio has it now. A pending one becomes a task, if that is where it was seen."""
    with _patiently(window.database, f"answer:{item_id}", f"Somebody else answers item {item_id} just now."):
        item = _item(window, item_id)
        if push and item.status == "pending":
            _demand(window, item, act, said)
            push_item(_desk(window), item_id)
        row = _row(window, item_id)
        if push and row is None:
            raise _without_task(window, item_id)
        yield _looked(window, row, window.client.people()) if row else Turn(item, task_key(item), {}, {})


def _without_task(window: Window, item_id: int) -> ConflictError:
    """Why there is nothing to write an answer to."""
    item = _item(window, item_id)
    if item.status == "pending":
        fault = item.fault or "Label Studio did not take it"
        return ConflictError(f"Item {item_id} cannot become a task: {fault}", "`labelwheel doctor` says what to do.")
    return Answered(f"Item {item_id} is {item.status}, and has no task.", "Choose another one.", _state(window, item_id))


def _looked(window: Window, row: LsTask, people: Mapping[int, str]) -> Turn:
    """Mirror the task as it is now. The pull's lease: a pull that read it before and writes it later would undo this."""
    with _patiently(window.database, f"pull:{window.project.id}", "Label Studio is being read just now.") as lease:
        task = _task(window, row)
        if task is None:
            message = f"The task of item {row.queue_item_id} was deleted in Label Studio."
            raise Answered(message, "It expires with the next look for deleted tasks.", _state(window, row.queue_item_id))
        if not lease.renew():
            raise ConflictError("Label Studio answered too slowly.", "Ask again.")
        with window.database.write() as session:
            change = mirror_tasks(session, window.project, [task], people)
            name_authors(session, window.project.id, change)
            settle(session, window.project.id, window.reading, change.touched, change.keys)
    return Turn(_item(window, row.queue_item_id), row.key, task, people)


def _task(window: Window, row: LsTask) -> Json | None:
    """The task by its id, if it is still ours; else by our key."""
    found = window.client.tasks(window.project.ls_project_id, [row.ls_task_id]).get(row.ls_task_id)
    if found and found["data"].get(KEY) == row.key:
        return found
    ids = window.client.find_tasks(window.project.ls_project_id, [row.key]).get(row.key, [])
    return window.client.tasks(window.project.ls_project_id, ids[:1]).get(ids[0]) if ids else None


def _as_known(turn: Turn, said: Said) -> Said:
    """By the address that Label Studio has of them: under another spelling of it a person would be two, and agree with themselves."""
    address = next((address for address in turn.people.values() if address.casefold() == said.who.casefold()), said.who)
    return replace(said, who=address)


def _annotate(window: Window, turn: Turn, act: str, said: Said, key: Key, **annotation: Any) -> Json:
    _demand(window, turn.item, act, said)
    _note(window, turn, act, said, key)
    _write(window, turn, said, key, annotation)
    return _state(window, turn.item.id)


def _is_last_word(window: Window, turn: Turn, act: str, said: Said, boxes: Sequence[LabelledBox]) -> bool:
    """Whether this very answer is what was said last of the task, and stands as it was given: then it comes again, and is not written.

    Given again after another one, or after an edit, it is a new answer. So it is after it was rejected or withdrawn, for somebody who
    says where the item stands now; Elsewhere for somebody who does not.
    """
    last = _last(turn.task)
    if last is None or not _is_answer(window, turn, last, act, said.who) or not _says(window, turn, last, act, boxes):
        return False
    if not _is_refused(window, last):
        return True
    _demand(window, turn.item, act, said if said.status else replace(said, status="pushed"))
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


def _there(task: Json, key: Key) -> bool:
    return any(annotation.get("import_id") == key.import_id for annotation in task.get("annotations") or [])


def _note(window: Window, turn: Turn, act: str, said: Said, key: Key) -> None:
    row = {"digest": key.import_id, "act": act, "who": said.who, "why": said.why, "at": utcnow()}
    with window.database.write() as session:
        insert_absent(session, Answer, [{"project_id": window.project.id, "key": turn.key, **row}])


def _write(window: Window, turn: Turn, said: Said, key: Key, annotation: Json) -> None:
    """Create the annotation and mirror it. An error says little: it may be there all the same, or have been there before."""
    author = next((user for user, address in turn.people.items() if address == said.who), None)
    fields = {**annotation, "unique_id": key.unique_id, "import_id": key.import_id, **({"completed_by": author} if author else {})}
    failure: LabelStudioError | None = None
    try:
        window.client.create_annotation(turn.task["id"], **fields)
    except LabelStudioError as error:
        failure = error
    if not _there(_again(window, turn).task, key) and failure:
        raise failure


def _again(window: Window, turn: Turn) -> Turn:
    row = _row(window, turn.item.id)
    return _looked(window, row, turn.people) if row else turn


def _judge(window: Window, item_id: int, act: str, verdict: str, said: Said, *, starred: bool) -> Json:
    """The verdict first: a star that we set is then never taken for a person's own, and one that was not set is set by a retry."""
    with _turn(window, item_id, act, said, push=False) as turn:
        annotation = newest(turn.task)
        if annotation is None:
            raise Answered(f"Item {item_id} has no label yet.", "Label it first.", _state(window, item_id))
        _demand(window, turn.item, act, said)
        _say(window, annotation, verdict, said)
        if bool(annotation.get("ground_truth")) != starred:
            window.client.star_annotation(annotation["id"], starred)
            _again(window, turn)
        return _state(window, item_id)


def _say(window: Window, annotation: Json, verdict: str, said: Said) -> None:
    with window.database.write() as session:
        give(session, window.project, window.reading, identity(annotation), verdict, said.who, said.why)


def _last(task: Mapping[str, Any]) -> Json | None:
    """The annotation, or skip, that was made or changed last."""
    return max(task.get("annotations") or [], key=lambda annotation: (annotation["updated_at"], annotation["id"]), default=None)


def newest(task: Mapping[str, Any]) -> Json | None:
    """The annotation of a task that was submitted or changed last, skips aside."""
    standing = [annotation for annotation in task.get("annotations") or [] if not annotation.get("was_cancelled")]
    return max(standing, key=lambda annotation: (annotation["updated_at"], annotation["id"]), default=None)


def _demand(window: Window, item: QueueItem, act: str, said: Said) -> None:
    """Refuse an answer to an item that stands elsewhere than its giver saw it."""
    seen = (said.status,) if said.status else EXPECTED[act]
    allowed = (*seen, *OPEN) if said.status in OPEN else seen  # that an item became a task is nobody's answer
    if item.status not in allowed or item.status == "expired":
        state = _state(window, item.id)
        last = state["history"][-1] if state["history"] else {"who": "selection", "at": state["updated_at"]}
        message = f"Item {item.id} is {item.status} (by {last['who']}, {last['at']}), not {' or '.join(seen)}."
        if item.status == "expired":
            raise Answered(message, "Choose another one.", state)
        raise Elsewhere(message, f'Look at it; to {act} it all the same, say that you saw it: status "{item.status}".', state)


@contextmanager
def _patiently(database: Database, name: str, refusal: str) -> Iterator[HeldLease]:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with hold(database, name, LEASE_SECONDS) as lease:
            if lease is not None:
                yield lease
                return
        if time.monotonic() >= until:
            raise ConflictError(refusal, "Ask again in a few seconds.")
        time.sleep(0.1)


def _desk(window: Window) -> Desk:
    """To push with. No model is loaded: a task that is answered at once needs no pre-annotation."""
    tags = parse(window.project.label_config)
    return Desk(window.database, window.settings, window.client, window.project, tags, None)


def _item(window: Window, item_id: int) -> QueueItem:
    with window.database.read() as session:
        return find(session, window.project.id, item_id)


def _classes(window: Window) -> ClassMap:
    with window.database.read() as session:
        return current_classes(session, window.project.id)


def _row(window: Window, item_id: int) -> LsTask | None:
    with window.database.read() as session:
        return session.scalar(select(LsTask).where(LsTask.queue_item_id == item_id).order_by(LsTask.id.desc()).limit(1))


def _state(window: Window, item_id: int) -> Json:
    with window.database.read() as session:
        return show(session, window.project.id, item_id)
