"""COCO's JSON: images, annotations with box, outline and key points, categories. Lengths are in pixels of the upright image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from labelwheel.vision import outline
from labelwheel.vision.drawing import Joint, Posed, Size
from retrain.dataset.lines import ABSENT, DRAWN, Names, places_of

DECIMALS = 4  # of a pixel


class Book:
    """One file of a split, as it grows. A category's id is its class id and one: COCO counts from 1."""

    def __init__(self, names: Names, joints: Sequence[Joint]) -> None:
        self._names, self._joints = names, joints
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, name: str, size: Size | None, found: Sequence[Posed]) -> None:
        """An image, whose file is `name` below `images/`, and its objects. Without objects its size may not be known."""
        width, height = size or (None, None)
        self._images.append({"id": len(self._images) + 1, "file_name": name, "width": width, "height": height})
        self._annotations += [self._annotation(number, one) for number, one in enumerate(found, len(self._annotations) + 1)]

    def _annotation(self, number: int, one: Posed) -> dict[str, Any]:
        box = outline.box_of(one.shape.outline)
        entry = {
            "id": number,
            "image_id": len(self._images),
            "category_id": self._names.ids[one.shape.label] + 1,
            "bbox": [round(value, DECIMALS) for value in (box.x1, box.y1, box.width, box.height)],
            "area": round(abs(outline.area(one.shape.outline)), DECIMALS),
            "segmentation": [[round(value, DECIMALS) for spot in one.shape.outline for value in spot]],
            "iscrowd": 0,
        }
        return entry | self._keypoints(one)

    def _keypoints(self, one: Posed) -> dict[str, Any]:
        if not self._joints:
            return {}
        rows = [self._point(one, place) for place in range(places_of(self._joints))]
        return {"keypoints": [value for row in rows for value in row], "num_keypoints": len(one.points)}

    def _point(self, one: Posed, place: int) -> tuple[float, float, int]:
        if place not in one.points:
            return 0, 0, ABSENT
        x, y = one.points[place].spot
        return round(x, DECIMALS), round(y, DECIMALS), DRAWN

    def dump(self) -> bytes:
        content = {"images": self._images, "annotations": self._annotations, "categories": self._categories()}
        return json.dumps(content, ensure_ascii=False).encode()

    def _categories(self) -> list[dict[str, Any]]:
        categories: list[dict[str, Any]] = [{"id": number + 1, "name": label} for number, label in enumerate(self._names.labels)]
        if self._joints:
            for category in categories:
                category |= {"keypoints": point_names(category["name"], self._joints), "skeleton": []}
        return categories


def point_names(label: str, joints: Sequence[Joint]) -> list[str]:
    """What the points of an object of this label are called, in their order; those that it does not have by their number."""
    names = {joint.place: joint.label for joint in reversed(joints) if not joint.objects or label in joint.objects}
    return [names.get(place, str(place)) for place in range(places_of(joints))]
