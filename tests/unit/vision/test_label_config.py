"""Label configs, good, bad and hostile."""

from __future__ import annotations

import pytest

from labelwheel.errors import InputError
from labelwheel.vision.label_config import ControlTag, parse, shown_tags

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


def rectangles(tag: str = "", labels: str = '<Label value="car"/><Label value="person"/>', name: str = "label", to: str = "image") -> str:
    return f'<RectangleLabels name="{name}" toName="{to}" {tag}>{labels}</RectangleLabels>'


@pytest.mark.parametrize(
    ("tag", "labels", "predicted", "shown"),
    [
        ("", '<Label value="car"/>', "CAR", ("car", 0.25)),
        ("", '<Label value="car"/>', "bus", None),
        ('model_score_threshold="0.5"', '<Label value="car"/>', "car", ("car", 0.5)),
        ('score_threshold="0"', '<Label value="car"/>', "car", ("car", 0.0)),
        ('model_score_threshold="0.5"', '<Label value="car" model_score_threshold="0.9"/>', "car", ("car", 0.9)),
        ("", '<Label value="car" predicted_values="Pkw, lorry"/>', "LORRY", ("car", 0.25)),
        ("", '<Label value="car" predicted_values="Pkw"/>', "car", ("car", 0.25)),
        ("", '<Label value="car"/><Label value="vehicle" predicted_values="car"/>', "car", ("vehicle", 0.25)),
        ("", '<Label value="Wagen" alias="car" predicted_values="bus"/>', "bus", ("car", 0.25)),
        ('model_skip="True"', '<Label value="car"/>', "car", None),
        ('model_skip="false"', '<Label value="car"/>', "car", ("car", 0.25)),
    ],
)
def test_attributes_say_what_is_shown_of_a_model(tag: str, labels: str, predicted: str, shown: tuple[str, float] | None) -> None:
    assert parse(f"<View>{IMAGE}{rectangles(tag, labels)}</View>")[0].shows(predicted, 0.25) == shown


@pytest.mark.parametrize("text", ["half", "-0.1", "1.01", "nan", ""])
@pytest.mark.parametrize("on_label", [True, False])
def test_a_threshold_that_is_none_is_refused_by_the_tag_that_has_it(text: str, on_label: bool) -> None:
    attribute = f'model_score_threshold="{text}"'
    xml = rectangles(labels=f'<Label value="car" {attribute}/>') if on_label else rectangles(attribute)
    if not text:
        assert parse(f"<View>{IMAGE}{xml}</View>")  # an attribute left empty is none
        return
    with pytest.raises(InputError, match="car" if on_label else "label"):
        parse(f"<View>{IMAGE}{xml}</View>")


def test_predictions_are_shown_on_the_first_image_by_all_tags_that_do_not_skip() -> None:
    second = '<Image name="other" value="$other"/>'
    tags = (rectangles('model_skip="true"', name="none"), rectangles(name="a"), rectangles(name="b", to="other"), rectangles(name="c"))
    assert [tag.name for tag in shown_tags(parse(f"<View>{IMAGE}{second}{''.join(tags)}</View>"))] == ["a", "c"]
    assert shown_tags(parse(f"<View>{IMAGE}{tags[0]}</View>")) == ()


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
        (f"<View>{IMAGE}{RECTANGLES}{' ' * 2**20}</View>", "characters"),
        (f'<View>{IMAGE}<RectangleLabels name="l" toName="image">{RECTANGLES}</RectangleLabels></View>', "holds another"),
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
