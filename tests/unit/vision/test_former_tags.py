"""What was drawn with a tag or label that is gone stays readable, under its old name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from labelwheel.vision.drawn import from_regions
from labelwheel.vision.former_tags import readable, remember
from labelwheel.vision.label_config import ControlTag, parse


def config(
    name: str = "label", labels: tuple[str, ...] = ("open", "short"), attributes: str = "", kind: str = "RectangleLabels"
) -> list[ControlTag]:
    options = "".join(f'<Label value="{label}"/>' for label in labels)
    return parse(f'<View><Image name="image" value="$image"/><{kind} name="{name}" toName="image" {attributes}>{options}</{kind}></View>')


def read(tags: list[ControlTag], name: str, label: str) -> tuple[list[str], list[str]]:
    value = {"x": 10, "y": 10, "width": 10, "height": 10, "rectanglelabels": [label]}
    boxes, exclusions = from_regions([{"id": "r", "type": "rectanglelabels", "from_name": name, "value": value}], tags, 100, 100)
    return [box.label for box in boxes], [item.reason for item in exclusions]


def test_a_label_that_was_taken_out_keeps_its_name() -> None:
    known = remember([], config())
    now = config(labels=("short", "hole"))
    assert read(now, "label", "open") == ([], ["unknown label 'open'"])
    assert read(readable(now, known), "label", "open") == (["open"], [])
    assert read(readable(now, known), "label", "hole") == (["hole"], [])


def test_a_tag_that_was_renamed_is_read_by_both_names() -> None:
    known = remember([], config())
    tags = readable(config("boxes"), known)
    assert [read(tags, name, "open")[0] for name in ("label", "boxes")] == [["open"], ["open"]]


def test_a_tag_that_became_another_kind_leaves_its_rectangles_readable() -> None:
    known = remember([], config())
    assert read(readable(config(kind="PolygonLabels"), known), "label", "open") == (["open"], [])


def test_a_tag_that_was_given_to_another_model_is_no_longer_ours() -> None:
    known = remember([], config())
    assert read(readable(config(attributes='model="grade"'), known), "label", "open") == ([], [])


CONFIGS = st.builds(config, st.sampled_from(["label", "boxes"]), st.lists(st.sampled_from("abcd"), min_size=1, unique=True).map(tuple))


@given(st.lists(CONFIGS, min_size=1, max_size=5))
def test_nothing_is_forgotten_and_seeing_it_again_adds_nothing(history: list[list[ControlTag]]) -> None:
    known: list[dict[str, object]] = []
    for tags in history:
        known = remember(known, tags)
        assert remember(known, tags) == known
    tags = readable(history[-1], known)
    for earlier in history:
        for label in earlier[0].labels:
            assert read(tags, earlier[0].name, label) == ([label], [])
