"""Label configs, good, bad and hostile."""

from __future__ import annotations

import pytest

from labelwheel.errors import InputError
from labelwheel.vision.label_config import ControlTag, Slot, parse, shown_tags, trained_labels

IMAGE = '<Image name="image" value="$photo"/>'
RECTANGLES = '<RectangleLabels name="label" toName="image"><Label value="car"/><Label value="person"/></RectangleLabels>'


def test_the_rectangle_tag_is_read() -> None:
    assert parse(f"<View>{IMAGE}{RECTANGLES}</View>") == [ControlTag("RectangleLabels", "label", "image", "photo", ("car", "person"))]


def test_an_xml_declaration_and_nesting_are_read() -> None:
    xml = f'<?xml version="1.0" encoding="UTF-8"?><View><View style="color: red">{RECTANGLES}</View>{IMAGE}</View>'
    assert parse(xml)[0].labels == ("car", "person")


def test_other_tags_are_passed_over_and_order_is_kept() -> None:
    choices = '<TextArea name="review" toName="image"/><Choices name="of-text" toName="text"><Choice value="accepted"/></Choices>'
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


def test_predictions_are_shown_by_all_tags_that_do_not_skip() -> None:
    second = '<Image name="other" value="$other"/>'
    tags = (rectangles('model_skip="true"', name="none"), rectangles(name="a"), rectangles(name="b", to="other"), rectangles(name="c"))
    assert [tag.name for tag in shown_tags(parse(f"<View>{IMAGE}{second}{''.join(tags)}</View>"))] == ["a", "b", "c"]
    assert shown_tags(parse(f"<View>{IMAGE}{tags[0]}</View>")) == ()


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "not XML"),
        ("<View>", "not XML"),
        (f"<View>{IMAGE}</View>", "no tag that we fill"),
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


def shape(kind: str, tag: str = "", options: str = '<Label value="car"/>') -> str:
    return f'<View>{IMAGE}<{kind} name="tag" toName="image" {tag}>{options}</{kind}></View>'


@pytest.mark.parametrize("kind", ["PolygonLabels", "KeyPointLabels"])
def test_shapes_of_other_models_are_read_and_not_trained_on(kind: str) -> None:
    [tag] = parse(shape(kind))
    assert (tag.kind, tag.labels, tag.trains) == (kind, ("car",), False)
    assert trained_labels([tag]) == []
    assert trained_labels(parse(shape(kind).replace(IMAGE, IMAGE + RECTANGLES))) == ["car", "person"]


@pytest.mark.parametrize(("tag", "several"), [("", False), ('choice="single-radio"', False), ('choice="multiple"', True)])
def test_choices_are_read(tag: str, several: bool) -> None:
    options = '<Choice value="good"/><Choice value="Ausschuss" alias="bad"><Choice value="scrap"/></Choice>'
    [found] = parse(shape("Choices", tag, options))
    assert (found.labels, found.several) == (("good", "bad", "scrap"), several)


@pytest.mark.parametrize("tag", ['perRegion="true"', 'model_skip="true" perRegion="true"'])
def test_choices_that_ask_of_a_region_are_not_ours(tag: str) -> None:
    with pytest.raises(InputError, match="no tag that we fill"):
        parse(shape("Choices", tag, '<Choice value="good"/>'))


@pytest.mark.parametrize(
    ("text", "slot"), [("", Slot()), ("grade", Slot("grade", "champion")), (" grade@candidate ", Slot("grade", "candidate"))]
)
def test_a_tag_may_name_its_model(text: str, slot: Slot) -> None:
    [tag] = parse(shape("RectangleLabels", f'model="{text}"'))
    assert (tag.slot, tag.trains) == (slot, not slot.name)


@pytest.mark.parametrize("text", ["../best.pt", "a b", "grade@", "@champion", "http://x/y", "grade@a@b"])
def test_a_model_is_named_and_never_a_path(text: str) -> None:
    with pytest.raises(InputError, match="model name"):
        parse(shape("RectangleLabels", f'model="{text}"'))


@pytest.mark.parametrize(
    ("options", "point", "shown"),
    [
        ('<Label value="a"/><Label value="b"/>', ("person", "1", 1), ("b", 0.5)),
        ('<Label value="a"/><Label value="b"/>', ("person", "2", 2), None),
        ('<Label value="a" model_index="2"/>', ("person", "2", 2), ("a", 0.5)),
        ('<Label value="a" model_index="2"/>', ("person", "0", 0), None),
        ('<Label value="Nose"/>', ("person", "nose", 7), ("Nose", 0.5)),
        ('<Label value="Nose"/>', ("person", "eye", 0), None),
        ('<Label value="a" predicted_values="dog" model_score_threshold="0.9"/>', ("Dog", "0", 0), ("a", 0.9)),
        ('<Label value="a" predicted_values="dog"/>', ("person", "0", 0), None),
    ],
)
def test_a_label_stands_for_a_point_of_a_skeleton(options: str, point: tuple[str, str, int], shown: tuple[str, float] | None) -> None:
    assert parse(shape("KeyPointLabels", options=options))[0].shows_point(*point) == shown


def test_an_index_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="model index"):
        parse(shape("KeyPointLabels", options='<Label value="a" model_index="nose"/>'))
