"""Label configs, good, bad and hostile."""

from __future__ import annotations

import pytest

from labelwheel.errors import InputError
from labelwheel.vision.label_config import ControlTag, parse

IMAGE = '<Image name="image" value="$photo"/>'
RECTANGLES = '<RectangleLabels name="label" toName="image"><Label value="car"/><Label value="person"/></RectangleLabels>'


def test_the_rectangle_tag_is_read() -> None:
    assert parse(f"<View>{IMAGE}{RECTANGLES}</View>") == [ControlTag("RectangleLabels", "label", "image", "photo", ("car", "person"))]


def test_an_xml_declaration_and_nesting_are_read() -> None:
    xml = f'<?xml version="1.0" encoding="UTF-8"?><View><View style="color: red">{RECTANGLES}</View>{IMAGE}</View>'
    assert parse(xml)[0].labels == ("car", "person")


def test_other_tags_are_passed_over_and_order_is_kept() -> None:
    choices = '<Choices name="review" toName="image"><Choice value="accepted"/></Choices>'
    second = '<RectangleLabels name="second" toName="image"><Label value="dog"/></RectangleLabels>'
    assert [tag.name for tag in parse(f"<View>{choices}{RECTANGLES}{IMAGE}{second}</View>")] == ["label", "second"]


def test_an_alias_is_the_label_that_results_carry() -> None:
    xml = f'<View>{IMAGE}<RectangleLabels name="l" toName="image"><Label value="Pkw" alias="car"/></RectangleLabels></View>'
    assert parse(xml)[0].labels == ("car",)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "not XML"),
        ("<View>", "not XML"),
        (f"<View>{IMAGE}</View>", "no RectangleLabels"),
        (f"<View>{RECTANGLES}</View>", "no Image"),
        (f'<View><Text name="image" value="$photo"/>{RECTANGLES}</View>', "no Image"),
        (f'<View><Image name="image" value="http://host/a.jpg"/>{RECTANGLES}</View>', "no Image"),
        (f'<View>{IMAGE}<RectangleLabels name="l" toName="image"/></View>', "lacks"),
        (f'<View>{IMAGE}<RectangleLabels toName="image"><Label value="a"/></RectangleLabels></View>', "lacks"),
        (f'<View>{IMAGE}<RectangleLabels name="l" toName="image"><Label/></RectangleLabels></View>', "lacks"),
        (f'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><View>{IMAGE}{RECTANGLES}&b;</View>', "not XML"),
        (f'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;{RECTANGLES}</View>', "not XML"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_cure(xml: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(xml)
    assert "RectangleLabels" in caught.value.cure


@pytest.mark.parametrize(("asked", "spelt"), [("car", "car"), ("CAR", "car"), ("Car", "Car"), ("bus", None)])
def test_spelling_prefers_the_exact_label(asked: str, spelt: str | None) -> None:
    assert ControlTag("RectangleLabels", "label", "image", "image", ("car", "Car")).spelling(asked) == spelt
