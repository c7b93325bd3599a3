"""Score a model as it is served, the ONNX file through the detector, on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelwheel.settings import Settings
from labelwheel.storage import ImageStore
from labelwheel.vision import image
from labelwheel.vision.class_map import ClassMap
from labelwheel.vision.class_view import seen_as
from labelwheel.vision.detection import Detection
from labelwheel.vision.detector import Detector
from labelwheel.vision.image import Pixels
from retrain.dataset.content import Item
from retrain.gate.curves import confusion
from retrain.gate.precision import Ints, Matches, average_precision, map50, match


@dataclass(frozen=True, eq=False)
class Scores:
    """mAP of one model on N images; by class and by source AP50, None where there is no true box. `matches` feed the gate.

    `confusion` is `retrain.gate.curves.confusion`'s.
    """

    images: int
    map50: float
    map50_95: float
    per_class: dict[str, float | None]
    per_source: dict[str, float | None]
    matches: Matches
    confusion: Ints

    def as_dict(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "map50": round(self.map50, 4),
            "map50_95": round(self.map50_95, 4),
            "per_class": self.per_class,
            "per_source": self.per_source,
        }


def evaluate(detector: Detector, items: Sequence[Item], pixels: Callable[[Item], Pixels], classes: ClassMap) -> Scores:
    """Detect on every image and compare with its label, on the classes in use. `pixels` gives the upright BGR image of an item.

    What the model detects is read under the names that the classes have today.
    """
    labels = classes.active
    found = [_known(seen_as(detector.detect(pixels(item)).detections, classes), labels) for item in items]
    matches = match([item.boxes for item in items], found, labels)
    everything = np.ones((1, len(items)))
    return Scores(
        images=len(items),
        map50=float(map50(matches, everything)[0]),
        map50_95=_map50_95(items, found, labels),
        per_class=dict(zip(labels, _rounded(average_precision(matches, everything)[0]), strict=True)),
        per_source=_per_source(matches, [item.source for item in items]),
        matches=matches,
        confusion=confusion([item.boxes for item in items], found, labels),
    )


def reader(store: ImageStore, settings: Settings, beat: Callable[[], object]) -> Callable[[Item], Pixels]:
    """The `pixels` of `evaluate`, from the image store; `beat` is called before each."""

    def read(item: Item) -> Pixels:
        beat()
        return image.decode(store.read(item.uri), max_bytes=settings.max_image_bytes, max_pixels=settings.max_image_pixels)

    return read


def _known(detections: Iterable[Detection], labels: Collection[str]) -> list[Detection]:
    return [one for one in detections if one.label in labels]


def _per_source(matches: Matches, sources: Sequence[str]) -> dict[str, float | None]:
    names = sorted(set(sources))
    weights = np.array([[float(source == name) for source in sources] for name in names]).reshape(len(names), len(sources))
    boxes = weights @ matches.truths.sum(axis=0)
    values = zip(names, _rounded(map50(matches, weights)), boxes, strict=True)
    return {name: value if count else None for name, value, count in values}


def _rounded(values: Iterable[float]) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), 4) for value in values]


def _map50_95(items: Sequence[Item], found: Sequence[Sequence[Detection]], labels: Sequence[str]) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    truths, detections = list(_coco_truths(items, labels)), list(_coco_detections(found, labels))
    if not truths or not detections:
        return 0.0
    images = [{"id": number, "width": item.width, "height": item.height} for number, item in enumerate(items)]
    truth = COCO({"images": images, "annotations": truths, "categories": [{"id": n, "name": name} for n, name in enumerate(labels)]})
    scored = COCOeval_faster(truth, truth.loadRes(detections), iouType="bbox", print_function=_silent)
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    return max(float(scored.stats_as_dict["AP_all"]), 0.0)


def _coco_truths(items: Sequence[Item], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    boxes = ((number, box) for number, item in enumerate(items) for box in item.boxes if box.label in labels)
    for identity, (number, box) in enumerate(boxes, start=1):  # 0 reads as "not matched" in COCO's code
        place = [box.box.x1, box.box.y1, box.box.width, box.box.height]
        yield {
            "id": identity,
            "image_id": number,
            "category_id": labels.index(box.label),
            "bbox": place,
            "area": box.box.area,
            "iscrowd": 0,
        }


def _coco_detections(found: Sequence[Sequence[Detection]], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, detections in enumerate(found):
        for item in detections:
            if item.label in labels:
                place = [item.box.x1, item.box.y1, item.box.width, item.box.height]
                yield {"image_id": number, "category_id": labels.index(item.label), "bbox": place, "score": item.confidence}


def _silent(*_: object, **__: object) -> None:
    """COCO's code prints its tables otherwise."""
