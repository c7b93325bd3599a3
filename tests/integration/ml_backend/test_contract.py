"""The contract of label-studio-ml 2.x, which is not on PyPI: its `ModelResponse` holds what we answer as Label Studio's own SDK defines it."""

from __future__ import annotations

import pytest
from label_studio_sdk.label_interface.objects import PredictionValue
from pydantic import BaseModel

from labelwheel.vision.detection import Detection, Keypoint, Point
from labelwheel.vision.geometry import Box, Rotated
from labelwheel.vision.label_config import parse, shown_tags
from labelwheel.vision.pre_annotation import Sight, pre_annotation

IMAGE = '<Image name="image" value="$image"/>'
CONFIGS = {
    "rectangle": f'<View>{IMAGE}<RectangleLabels name="t" toName="image"><Label value="open"/></RectangleLabels></View>',
    "polygon": f'<View>{IMAGE}<PolygonLabels name="t" toName="image"><Label value="open"/></PolygonLabels></View>',
    "choices": f'<View>{IMAGE}<Choices name="t" toName="image"><Choice value="open"/></Choices></View>',
    "key points": f'<View>{IMAGE}<KeyPointLabels name="t" toName="image"><Label value="head" model_index="0"/></KeyPointLabels></View>',
}
SEEN = [
    Detection("open", Box(10, 10, 60, 40), 0.9),
    Detection("open", Box(10, 10, 60, 40), 0.8, rotated=Rotated(35, 25, 40, 20, 30)),
    Detection("open", Box(10, 10, 60, 40), 0.7, polygon=(Point(10, 10), Point(60, 10), Point(60, 40))),
    Detection("open", Box(10, 10, 60, 40), 0.6, keypoints=(Keypoint("head", 20, 20, 0.9),)),
    Detection("open", Box(0, 0, 96, 64), 0.5, whole=True),
]


class ModelResponse(BaseModel, protected_namespaces=()):
    """What a 2.x server makes of an answer: one or several predictions for each task, of the SDK's type."""

    model_version: str | None = None
    predictions: list[list[PredictionValue] | PredictionValue]


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_answer_passes_through_it_unchanged(kind: str) -> None:
    tags = shown_tags(parse(CONFIGS[kind]))
    said = pre_annotation({(tags[0].value_key, tags[0].slot): Sight(SEEN, 96, 64)}, tags, "labelwheel@1", 0.25)
    assert said["result"], "nothing is shown: the test proves nothing"
    passed = ModelResponse(predictions=[[said], []]).model_dump()["predictions"]
    assert passed[1] == []
    assert {name: passed[0][0][name] for name in said} == said
