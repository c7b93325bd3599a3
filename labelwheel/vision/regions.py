"""What models found, as Label Studio's regions: each tag shows what it knows, in its own shape."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import fmean
from typing import Any

from labelwheel.vision.detection import Detection, Keypoint
from labelwheel.vision.geometry import Rotated, box_to_percent, rotated_to_percent
from labelwheel.vision.label_config import CHOICES, KEYPOINTS, POLYGONS, RECTANGLES, ControlTag
from labelwheel.vision.region import Region, framed

POINT_SIZE = 1.0  # of a key point's dot, in percent of the image's width


def to_regions(detections: Sequence[Detection], tags: Sequence[ControlTag], width: int, height: int, threshold: float) -> list[Region]:
    """A prediction's `result` for Label Studio: what each tag shows of the detections, from its own threshold on, else from `threshold`.

    `width` and `height` are the image's in pixels. Ids follow from the content, so an unchanged prediction keeps its region ids; an exact
    duplicate appears once.
    """
    drawn = [region for detection in detections for region in _drawn(detection, tags, width, height, threshold)]
    chosen = [region for tag in tags for region in _chosen(detections, tag, threshold)]
    return list({region["id"]: region for region in [*drawn, *chosen]}.values())


def prediction_score(detections: Sequence[Detection], tags: Sequence[ControlTag], threshold: float) -> float:
    """How sure the model is of what it shows (0–1): of what is drawn and of each question about the whole image, the least sure.

    Of what is drawn it is the mean confidence of the detections that a tag shows; when nothing is shown the claim is "nothing is there",
    and the score is 1 − the strongest confidence of what some tag knows. A question that nothing answers is as sure as its first answer.
    """
    drawn = [tag for tag in tags if tag.kind != CHOICES]
    sure = [_sure_of_choice(detections, tag, threshold) for tag in tags if tag.kind == CHOICES]
    if drawn or not sure:
        sure.append(_sure_of_drawn([(found.confidence, _shown_from(found, drawn, threshold)) for found in detections]))
    return round(min(sure), 5)


def _drawn(detection: Detection, tags: Sequence[ControlTag], width: int, height: int, threshold: float) -> list[Region]:
    shown = [tag for tag in tags if detection.confidence >= _enough(detection, tag, threshold)]
    whole = [region for tag in shown for region in _outlined(detection, tag, width, height)]
    parent = next((region["id"] for region in whole if region["type"] == RECTANGLES.lower()), None)
    return whole + [region for tag in shown for region in _points(detection, tag, parent, width, height)]


def _outlined(detection: Detection, tag: ControlTag, width: int, height: int) -> Iterator[Region]:
    """The object as the tag draws it whole: none where it lies outside of the image, or is drawn in points."""
    found, place = tag.shows(detection.label, 0), _place(detection, tag, width, height)
    if found is not None and place:
        key = _region_id(tag.name, found[0], detection)
        yield framed(key, tag, found[0], place, width, height) | {"score": round(detection.confidence, 5)}


def _place(detection: Detection, tag: ControlTag, width: int, height: int) -> dict[str, Any] | None:
    if tag.kind == POLYGONS:
        return {"points": [_percent(x, y, width, height) for x, y in detection.polygon], "closed": True}
    box = detection.box.clipped(width, height)
    if tag.kind != RECTANGLES or not box.valid:
        return None
    turned = _turned(detection.rotated, width, height) if detection.rotated else None
    return {key: round(value, 5) for key, value in (turned or box_to_percent(box, width, height)).items()}


def _turned(rectangle: Rotated, width: int, height: int) -> dict[str, float] | None:
    """Label Studio drops a rectangle whose corner or sides are beyond 100 percent, which some of its four corners are at an edge.

    None where that is so from each of them: such a long one is shown as its enclosing box.
    """
    for _ in range(4):
        place = rotated_to_percent(rectangle, width, height)
        if max(place[key] for key in ("x", "y", "width", "height")) <= 100:
            return place
        rectangle = rectangle.turned()
    return None


def _points(detection: Detection, tag: ControlTag, parent: str | None, width: int, height: int) -> Iterator[Region]:
    for number, point in enumerate(detection.keypoints):
        found = _shown_point(detection, point, number, tag)
        if found is not None:
            x, y = _percent(point.x, point.y, width, height)
            key = _region_id(tag.name, f"{found}/{number}", detection)
            region = framed(key, tag, found, {"x": x, "y": y, "width": POINT_SIZE}, width, height)
            yield region | {"score": round(point.confidence, 5)} | ({"parentID": parent} if parent else {})


def _shown_point(detection: Detection, point: Keypoint, number: int, tag: ControlTag) -> str | None:
    found = tag.shows_point(detection.label, point.name, number) if tag.kind == KEYPOINTS else None
    return found[0] if found and point.confidence >= found[1] else None


def _chosen(detections: Sequence[Detection], tag: ControlTag, threshold: float) -> Iterator[Region]:
    answers = _answers(detections, tag, threshold)
    if answers:
        key = _region_id(tag.name, "", *(detection for detection in detections if detection.whole))
        score = round(fmean(answers.values()), 5)
        yield {
            "id": key,
            "type": tag.result_type,
            "from_name": tag.name,
            "to_name": tag.to_name,
            "value": {"choices": list(answers)},
            "score": score,
        }


def _answers(detections: Sequence[Detection], tag: ControlTag, threshold: float) -> dict[str, float]:
    """What a question about the image is answered with, and how sure: the first answer, or all that are sure enough."""
    shares = _shares(detections, tag)
    sure = {label: share for label, share in shares.items() if share >= tag.enough(label, threshold)}
    return sure if tag.several else dict(list(sure.items())[:1])


def _shares(detections: Iterable[Detection], tag: ControlTag) -> dict[str, float]:
    """How much speaks for each answer, most first. A model's classes exclude each other, so those of one answer add up."""
    shares: defaultdict[str, float] = defaultdict(float)
    for detection in detections:
        found = tag.shows(detection.label, 0) if detection.whole and tag.kind == CHOICES else None
        if found is not None:
            shares[found[0]] += detection.confidence
    return {label: min(share, 1.0) for label, share in sorted(shares.items(), key=lambda item: -item[1])}


def _sure_of_choice(detections: Sequence[Detection], tag: ControlTag, threshold: float) -> float:
    answers, strongest = _answers(detections, tag, threshold), max(_shares(detections, tag).values(), default=0.0)
    if answers:
        return fmean(answers.values())
    return 1 - strongest if tag.several else strongest


def _sure_of_drawn(looks: Sequence[tuple[float, float]]) -> float:
    """Of (confidence, from which confidence it is shown)."""
    shown = [confidence for confidence, enough in looks if confidence >= enough]
    known = [confidence for confidence, enough in looks if enough <= 1]
    return fmean(shown) if shown else 1 - max(known, default=0.0)


def _shown_from(detection: Detection, tags: Sequence[ControlTag], threshold: float) -> float:
    return min((_enough(detection, tag, threshold) for tag in tags), default=NEVER)


NEVER = 2.0  # a confidence that none has


def _enough(detection: Detection, tag: ControlTag, threshold: float) -> float:
    """The lowest confidence from which a tag draws a detection; `NEVER` when it cannot."""
    if tag.kind == KEYPOINTS:
        points = (_shown_point(detection, point, number, tag) for number, point in enumerate(detection.keypoints))
        return tag.enough("", threshold) if any(points) else NEVER
    fits = not detection.whole and (tag.kind == RECTANGLES or (tag.kind == POLYGONS and bool(detection.polygon)))
    found = tag.shows(detection.label, threshold) if fits else None
    return NEVER if found is None else found[1]


def _percent(x: float, y: float, width: int, height: int) -> list[float]:
    return [round(100 * x / width, 5), round(100 * y / height, 5)]


def _region_id(name: str, label: str, *detections: Detection) -> str:
    found = [detection.as_dict() for detection in detections]
    content = json.dumps([name, label, *found], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]
