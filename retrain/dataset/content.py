"""What a dataset holds: which label of which image stands in which split. Known by the hash of its content."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labelwheel.database.insert import insert_absent
from labelwheel.database.tables import AnnotationRevision, Capture, ClassMap, Dataset, DatasetItem, Image, Label
from labelwheel.errors import DatasetError
from labelwheel.project import classes_of
from labelwheel.vision import class_map
from labelwheel.vision.detection import LabelledBox
from retrain.dataset import labels
from retrain.dataset.lines import to_text

SQL_VARIABLES = 500  # older SQLite takes 999 in one statement
QUARANTINED = "quarantined: it resembles images of both splits"
Table = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class Item:
    """One labelled image. Boxes are in pixels of the upright image; `uri` is the image store's; `dropped` are regions left out.

    `annotator` labelled it, `approved_by` is a person or the policy.
    """

    image_id: int
    label_id: int
    sha256: str
    uri: str
    width: int
    height: int
    split: str  # train | replay | holdout
    source: str
    boxes: tuple[LabelledBox, ...]
    dropped: tuple[Mapping[str, str], ...]
    annotator: str
    task: int
    key: str
    approved_by: str = ""


@dataclass(frozen=True, slots=True)
class Excluded:
    """A label that does not enter, and why."""

    label_id: int
    sha256: str
    task: int
    key: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """A dataset before it is written. Items are sorted by SHA-256, so that equal content gives equal files."""

    items: tuple[Item, ...]
    excluded: tuple[Excluded, ...]
    class_map: class_map.ClassMap

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The label files of `items`: YOLO lines, empty where a person saw nothing."""
        return tuple(to_text(item.boxes, self.class_map, item.width, item.height) for item in self.items)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over images, labels, label files, splits and class names.

        The labels' ids are in it, so that a label drawn anew with equal boxes still counts as used once it was trained on.
        """
        lines = (f"{item.sha256} {item.label_id} {item.split}\n{text}" for item, text in zip(self.items, self.texts, strict=True))
        return hashlib.sha256("\n".join((json.dumps(self.class_map.labels), *lines)).encode()).hexdigest()

    @cached_property
    def holdout(self) -> str | None:
        """Version of the holdout: SHA-256 over its images and label files. None when there is none.

        Scores on one version compare, and on two they do not. A class that is only called otherwise makes no other version.
        """
        pairs = zip(self.items, self.texts, strict=True)
        judged = [f"{item.sha256}\n{text}" for item, text in pairs if item.split == "holdout"]
        return hashlib.sha256("\n".join(judged).encode()).hexdigest() if judged else None

    def only(self, *splits: str) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.split in splits)

    def counts(self) -> dict[str, Any]:
        """Images by split, boxes by class, images by source; classes and sources by split; what was left out."""
        return {
            "images": dict(sorted(Counter(item.split for item in self.items).items())),
            "boxes": dict(sorted(Counter(box.label for item in self.items for box in item.boxes).items())),
            "sources": dict(sorted(Counter(item.source for item in self.items).items())),
            "boxes_by_split": _table((box.label, item.split) for item in self.items for box in item.boxes),
            "sources_by_split": _table((item.source, item.split) for item in self.items),
            "background": sum(not item.boxes for item in self.items),
            "excluded": len(self.excluded),
            "quarantined": sum(item.reason == QUARANTINED for item in self.excluded),
            "regions_dropped": sum(len(item.dropped) for item in self.items),
        }


def plan(session: Session, project_id: int, classes: ClassMap, *, replay: float | None, seed: int) -> Plan:
    """Choose a dataset from the labels of this moment. Raises DatasetError when there is nothing to train on.

    `replay` None takes every training label (from scratch); else all new ones and `replay` times as many old ones, drawn with
    `seed`. Without new labels a warm start repeats the old ones. The whole holdout is always part of it.
    Labels of removed classes alone are excluded, and count as neither new nor old.
    """
    splits, read_as = _standing(session, project_id), classes_of(session, classes)
    if replay is not None:
        gone = labels.emptied(session, splits, read_as)
        kept = {label_id: split for label_id, split in splits.items() if label_id not in gone}
        drawn = draw(kept, labels.consumed(session, project_id), replay, seed)
        splits = drawn | {label_id: splits[label_id] for label_id in gone}
    chosen = gather(session, splits, read_as)
    if not chosen.only("train", "replay"):
        raise DatasetError("There is no approved label to train on.", "Label images of the training split in Label Studio first.")
    return chosen


def everything(session: Session, project_id: int, classes: ClassMap) -> Plan:
    """Every approved label of this moment, in its split; it may be empty."""
    return gather(session, _standing(session, project_id), classes_of(session, classes))


def _standing(session: Session, project_id: int) -> dict[int, str]:
    """Splits of the approved labels, by their ids."""
    splits = labels.splits(session, project_id)
    return {label_id: splits.get(image_id, "quarantined") for image_id, label_id in labels.approved(session, project_id).items()}


def draw(splits: Mapping[int, str], old: set[int], replay: float, seed: int) -> dict[int, str]:
    """Splits of a warm start: new labels train, some old ones are replayed, the other old ones stay out. Pure."""
    known = sorted(label for label, split in splits.items() if split == "train" and label in old)
    fresh = sum(split == "train" for split in splits.values()) - len(known)
    wanted = min(round(replay * fresh), len(known)) if fresh else len(known)
    replayed = set(random.Random(seed).sample(known, wanted))  # noqa: S311  a repeatable draw, no secret
    left_out = set(known) - replayed
    return {label: "replay" if label in replayed else split for label, split in splits.items() if label not in left_out}


def gather(session: Session, splits: Mapping[int, str], classes: class_map.ClassMap) -> Plan:
    """Read the labels with these ids into a plan, under the names that their classes have in `classes`.

    Quarantined ones are excluded, and so are those of which nothing is left because their classes are in use no more: what is on such an
    image is not nothing.
    """
    rows = list(_labels(session, splits))
    tasks, sources = _tasks(session, rows), sources_of(session, (row.image_id for row in rows))
    found = [_item(row, splits[row.id], sources[row.image_id], tasks[row.id], classes) for row in rows]
    found.sort(key=lambda one: one.sha256)
    items, excluded = (one for one in found if isinstance(one, Item)), (one for one in found if isinstance(one, Excluded))
    return Plan(tuple(items), tuple(excluded), classes)


def remember(session: Session, project_id: int, classes: ClassMap, chosen: Plan, path: str, dvc_hash: str) -> Dataset:
    """The dataset's row and its items; the same content is the same row."""
    row = {"content_hash": chosen.content_hash, "dvc_hash": dvc_hash, "path": path, "class_map_id": classes.id, "counts": chosen.counts()}
    insert_absent(session, Dataset, [{"project_id": project_id, "holdout": chosen.holdout, **row}])
    dataset = session.scalars(select(Dataset).where(Dataset.project_id == project_id, Dataset.content_hash == chosen.content_hash)).one()
    columns = ("image_id", "label_id", "split")
    insert_absent(
        session, DatasetItem, [{"dataset_id": dataset.id, **{name: getattr(item, name) for name in columns}} for item in chosen.items]
    )
    return dataset


def recall(session: Session, dataset_id: int) -> Plan:
    """The plan of a stored dataset: labels are immutable, so it reads the same for ever."""
    dataset = session.get_one(Dataset, dataset_id)
    items = session.execute(select(DatasetItem.label_id, DatasetItem.split).where(DatasetItem.dataset_id == dataset_id)).tuples()
    return gather(session, dict(items.all()), classes_of(session, session.get_one(ClassMap, dataset.class_map_id)))


def image_bytes(session: Session, chosen: Plan) -> int:
    """Bytes of the images of a plan, as they are stored."""
    ids = (item.image_id for item in chosen.items)
    return sum(session.scalar(select(func.sum(Image.size)).where(Image.id.in_(some))) or 0 for some in portions(ids))


def old_items(session: Session, project_id: int, run_id: int, chosen: Plan, seed: int) -> Plan:
    """The control's plan: of the training images of `chosen` those whose labels are older than the run, and others for the new ones.

    Those that are added could have been replayed, too: they still stand, train, and hold a class in use. Where `chosen` has all labels,
    none can be added: the control has fewer images then.
    """
    consumed, mine = labels.consumed(session, project_id, before_run=run_id), {item.image_id for item in chosen.items}
    training = chosen.only("train", "replay")
    kept = [item.label_id for item in training if item.split == "replay" or item.label_id in consumed]
    splits, standing = labels.splits(session, project_id), labels.approved(session, project_id)
    old = set(standing.values()) & consumed
    old -= labels.emptied(session, old, chosen.class_map)
    spare = sorted(label for image, label in standing.items() if label in old and image not in mine and splits.get(image) == "train")
    added = random.Random(seed).sample(spare, min(len(training) - len(kept), len(spare)))  # noqa: S311  a repeatable draw, no secret
    return gather_same_classes(session, dict.fromkeys([*kept, *added], "replay"), chosen)


def gather_same_classes(session: Session, splits: Mapping[int, str], like: Plan) -> Plan:
    """A plan of these labels and the holdout of another, with its class map."""
    return gather(session, {**splits, **{item.label_id: "holdout" for item in like.only("holdout")}}, like.class_map)


def _item(row: Any, split: str, source: str, task: tuple[int, str], classes: class_map.ClassMap) -> Item | Excluded:
    boxes, strangers = read_boxes(row.boxes, classes)
    if split == "quarantined":
        return Excluded(row.id, row.sha256, *task, QUARANTINED)
    if strangers and not boxes:
        return Excluded(row.id, row.sha256, *task, "; ".join(dict.fromkeys(region["reason"] for region in strangers)))
    dropped, by = (*row.exclusions, *strangers), row.approved_by or ""
    who = (row.annotator, *task, by)
    return Item(row.image_id, row.id, row.sha256, row.uri, row.width, row.height, split, source, boxes, dropped, *who)


def read_boxes(
    drawn: Iterable[Mapping[str, Any]], classes: class_map.ClassMap
) -> tuple[tuple[LabelledBox, ...], tuple[dict[str, str], ...]]:
    """Stored boxes under today's names of their classes, and those of classes that are in use no more, or never were, with the reason."""
    found = [(box, classes.read(box.label)) for box in map(LabelledBox.from_dict, drawn)]
    boxes = tuple(box if label == box.label else replace(box, label=label) for box, label in found if label is not None)
    return boxes, tuple({"region_id": box.region_id, "reason": classes.why_not(box.label)} for box, label in found if label is None)


def _table(pairs: Iterable[tuple[str, str]]) -> Table:
    """How often each pair occurs, as rows of the first with columns of the second."""
    table: Table = {}
    for (row, column), count in sorted(Counter(pairs).items()):
        table.setdefault(row, {})[column] = count
    return table


def _labels(session: Session, ids: Iterable[int]) -> Iterator[Any]:
    """Rows of labels and of their images. No mapped objects: of thousands, these would take most of the time."""
    mine = (Label.id, Label.image_id, Label.boxes, Label.exclusions, Label.annotator, Label.approved_by)
    for some in portions(sorted(ids)):
        query = select(*mine, Image.sha256, Image.uri, Image.width, Image.height).join(Label.image)
        yield from session.execute(query.where(Label.id.in_(some), Image.erased_at.is_(None)))  # what was erased is in no plan again


def _tasks(session: Session, rows: Sequence[Any]) -> dict[int, tuple[int, str]]:
    """Label id → Label Studio's task id and our key."""
    found: dict[int, tuple[int, str]] = {}
    for some in portions(row.id for row in rows):
        query = select(Label.id, AnnotationRevision.ls_task_id, AnnotationRevision.key)
        query = query.join(AnnotationRevision, AnnotationRevision.id == Label.annotation_revision_id).where(Label.id.in_(some))
        found.update({label_id: (task, key) for label_id, task, key in session.execute(query).tuples()})
    return found


def sources_of(session: Session, image_ids: Iterable[int]) -> dict[int, str]:
    """Image id → source of its first capture."""
    found: dict[int, str] = {}
    for some in portions(image_ids):
        query = select(Capture.image_id, Capture.source).where(Capture.image_id.in_(some)).order_by(Capture.id.desc())
        found.update(dict(session.execute(query).tuples().all()))
    return found


def portions(ids: Iterable[int]) -> Iterator[list[int]]:
    rest = iter(ids)
    while portion := list(islice(rest, SQL_VARIABLES)):
        yield portion
