"""Whatever stands in a JSON export: what is broken is named, and fails nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import InputError, NotFoundError
from labelwheel.settings import Settings
from labelwheel.vision.drawing import Canvas
from labelwheel.vision.label_config import answering_tags
from retrain.dataset.folder import Excluded, Sample
from retrain.dataset.format import Format
from retrain.dataset.pictures import Pictures
from retrain.dataset.tasks import Picture, load, samples
from tests.fixtures.exported import ADDRESS, CONFIG, POSE, H, Json, W, box, point, said, task, written


def test_a_bad_task_fails_no_other() -> None:
    def look(address: str) -> Picture:
        raise NotFoundError(f"{address} is nowhere", "Look.")

    tasks = [
        None,
        7,
        {"id": 3},
        task(said(box()), image=None),
        task({"result": "x", "id": 1}),
        task(said(None)),
        task(7),
        task(said(box())),
    ]  # type: ignore[arg-type]
    _, items = written(*tasks)
    assert [item["status"] for item in items] == ["excluded"] * 7 + ["labeled"]
    assert all(item["reason"] for item in items[:7])
    [item] = written(task(said(box())), look=look)[1]
    assert (item["status"], item["reason"]) == ("excluded", f"no image: {ADDRESS} is nowhere")

    def stumble(address: str) -> Picture:
        if address == "bad":
            raise RuntimeError("who would have thought")
        return Picture(b"", "0" * 64, (W, H), ".png")

    _, items = written(task(said(box()), image="bad"), task(said(box()), identity=2), look=stumble)
    assert [item["status"] for item in items] == ["excluded", "labeled"] and "who would have thought" in items[0]["reason"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"annotations": 5}, "its annotations are no list"),
        ({"annotations": {"a": 1}}, "its annotations are no list"),
        ({"annotations": [said(box(), reviews=5)]}, None),
        ({"annotations": [said(box(from_name=["x"]))]}, "unknown tag ['x']"),
        ({"annotations": [said(box(from_name="gone", type=["x"]))]}, "unknown tag 'gone'"),
        ({"annotations": [said(box(original_width=10**400))]}, "its place cannot be read"),
        ({"id": 10**400, "annotations": [said()]}, None),
    ],
)
def test_whatever_stands_in_a_task_fails_no_other(bad: Json, reason: str | None) -> None:
    _, items = written(task(said(box())) | bad, task(said(box()), identity=2))
    assert items[1]["status"] == "labeled"
    assert len(items[0]["labels"]) < 100 if reason is None else reason in items[0]["reason"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "open", "label", "r", "choices", "labels", "brush"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "points", "rle", "id", "accepted"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(data=st.data())
def test_a_spoilt_task_is_accounted_for_and_fails_no_other(data: st.DataObject) -> None:
    accepted = {"accepted": True, "created_at": "2026-11-23T09:00:00Z"}
    polygon = {**box(from_name="p", type="polygonlabels"), "value": {"points": [[1, 1], [9, 1], [9, 9]], "polygonlabels": ["open"]}}
    bad = json.loads(json.dumps(task(said(box(), polygon, point("tip", 1, 1), reviews=[accepted]), said(box(), at=3), identity=3)))
    places = list(_places(bad))
    for parent, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=3, unique_by=id)):
        parent[key] = data.draw(JSON)
    config = POSE.replace("</View>", '<PolygonLabels name="p" toName="image"><Label value="open"/></PolygonLabels></View>')
    for form in (Format.yolo, Format.seg, Format.coco):
        _, items = written(bad, task(said(box()), identity=7), form=form, config=config)
        assert len(items) == 2 and items[1]["status"] == "labeled"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Where something stands in a JSON value: the list or object, and its index or key."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@pytest.mark.parametrize(
    "address",
    ["iVBORw0KGgo" * 60, "a/" + "b" * 256, "a\0b.png", "/data/local-files/?d=a%00b", "/data/local-files/?d=//[x", "file://[x", "http://[x", "data:,x",
     "round/a.png", "dark.png", "folder", "s3://[x/a", "https://x:99999/a.png", ""],
)  # fmt: skip
def test_whatever_address_stands_in_a_task_fails_no_other(tmp_path: Path, address: str) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "folder").mkdir()
    (tmp_path / "good.png").write_bytes(cv2.imencode(".png", np.zeros((H, W, 3), np.uint8))[1].tobytes())
    (tmp_path / "dark.png").write_bytes(b"x")
    (tmp_path / "dark.png").chmod(0)
    look = Pictures(tmp_path, Settings(home=tmp_path))
    canvas = Canvas(answering_tags(CONFIG))
    first, second = samples([task(said(box()), image=address), task(said(box()), image="good.png")], canvas, look)
    assert isinstance(first, Excluded) and first.reason
    assert isinstance(second, Sample)


@pytest.mark.parametrize("text", ["", "[", "7", '"x"', "[1, 2]", '[{"image": "a.jpg", "label": []}]'])
def test_what_is_no_export_of_tasks_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.json").write_text(text)
    with pytest.raises(InputError, match=r"t\.json"):
        load(tmp_path / "t.json")
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.json")
