"""Thresholds in a label config: they are read back as they were written, and nothing else changes."""

from __future__ import annotations

import re
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelwheel.errors import InputError
from labelwheel.vision.label_config import parse, trained_tags
from labelwheel.vision.thresholds import with_thresholds

NAMES = ["open", "pin-hole", 'a "b"', "<c> & d", "Lücke", "it's"]
written = st.floats(0, 1).map(lambda value: round(value, 4))


@st.composite
def configs(draw: st.DrawFn) -> tuple[str, list[str]]:
    labels = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    lines = []
    for label in labels:
        quote = draw(st.sampled_from("\"'"))
        value = f"value={quote}{escape(label)}{quote}"
        known = draw(
            st.sampled_from(["", ' model_score_threshold="0.3"', " model_score_threshold = '.5' hotkey='1'", ' score_threshold="0.2"'])
        )
        end = draw(st.sampled_from(["/>", " />", "></Label>", "\n  >\n</Label>"]))
        lines.append(draw(st.sampled_from(["", "<!-- <Label value='open'/> -->", "<View><View/>"])) + f"<Label {value}{known}{end}")
        lines[-1] += "</View>" if "<View>" in lines[-1] else ""
    other = '<Choices name="grade" toName="image"><Choice value="open"/></Choices><Header value="1 > 0"/>'
    body = "\n\t".join(lines)
    return (
        f"<?xml version='1.0'?>\n<View>{other}\n<Image name='image' value='$image'/><RectangleLabels toName=\"image\" name='label'>{body}"
        f'</RectangleLabels><RectangleLabels name="guest" model="other" toName="image"><Label value="open"/></RectangleLabels></View>\n',
        labels,
    )


def without_thresholds(xml: str) -> str:
    return re.sub(r"\s*model_score_threshold\s*=\s*(\"[^\"]*\"|'[^']*')", "", xml)


@given(configs(), st.data())
def test_thresholds_are_read_back_and_all_else_is_as_it_was(config: tuple[str, list[str]], data: st.DataObject) -> None:
    xml, labels = config
    wanted = data.draw(st.dictionaries(st.sampled_from(labels), written))
    changed = with_thresholds(xml, wanted)
    before, after = trained_tags(parse(xml))[0], trained_tags(parse(changed))[0]
    for label in labels:
        assert after.enough(label, 0.25) == wanted.get(label, before.enough(label, 0.25))
    assert without_thresholds(changed) == without_thresholds(xml)
    assert with_thresholds(changed, wanted) == changed
    if not wanted:
        assert changed == xml


def test_a_label_goes_by_its_alias() -> None:
    xml = (
        '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
        '<Label value="Open circuit" alias="open"/></RectangleLabels></View>'
    )
    assert 'alias="open" model_score_threshold="0.4"' in with_thresholds(xml, {"open": 0.4, "Open circuit": 0.9})


def test_a_config_that_cannot_be_edited_so_is_left_alone() -> None:
    twice = (
        '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
        '<Label value="open" model_score_threshold="0.1"/><Label value="open"/></RectangleLabels></View>'
    )
    with pytest.raises(InputError, match="cannot be put"):
        with_thresholds(twice, {"open": 0.4})
    with pytest.raises(InputError, match="not XML"):
        with_thresholds("<View>", {"open": 0.4})
