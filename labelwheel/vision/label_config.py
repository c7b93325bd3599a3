"""Read a Label Studio label config: which tags a model can fill, on which image, with which labels, and what of a model each shows.

What a model is shown by are attributes that Label Studio keeps and does not mind, spelt as its own YOLO example has them:
`model_skip`, `model_score_threshold`, `model_point_threshold` and `model` on a tag, `predicted_values`, `model_score_threshold` and
`model_index` on a label.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from labelwheel.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

RECTANGLES, POLYGONS, KEYPOINTS, CHOICES = "RectangleLabels", "PolygonLabels", "KeyPointLabels", "Choices"
SHOWS = {  # of which tasks a tag can show what is found
    RECTANGLES: ("detect", "obb", "segment", "pose"),
    POLYGONS: ("segment",),
    KEYPOINTS: ("pose",),
    CHOICES: ("classify",),
}
ELLIPSES, BRUSHES, ANY_SHAPE = "EllipseLabels", "BrushLabels", "Labels"
DRAWS = (RECTANGLES, POLYGONS, ELLIPSES, BRUSHES, ANY_SHAPE, KEYPOINTS)  # whose results are places in an image
LONGEST = 2**20  # characters; ten thousand labels take less
EXAMPLE = (
    'For example <View><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image"><Label value="car"/></RectangleLabels></View>.'
)


class Slot(NamedTuple):
    """Where a served model stands: its name in the registry and its alias there. Without a name it is the champion that the wheel trains."""

    name: str = ""
    alias: str = "champion"

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.name else "the champion"


CHAMPION = Slot()


@dataclass(frozen=True)
class LabelRule:
    """What a label says of predictions: the names of a model's classes that it stands for beside its own, and from which confidence.

    `index` is the number of the skeleton's point that it stands for.
    """

    label: str
    predicted: tuple[str, ...] = ()
    threshold: float | None = None
    index: int | None = None


@dataclass(frozen=True)
class ControlTag:
    """A tag that a person answers with. `name` is a result's from_name; `value_key` is where a task's data holds the image.

    `threshold` is the confidence from which it shows predictions (None: as set for all), `skip`: it shows none. `slot` is the model whose
    predictions it shows. `several`: of Choices, whether more than one may be chosen. `point_threshold`: of KeyPointLabels, from which
    confidence a point is shown (`threshold` is that of its object).
    """

    kind: str
    name: str
    to_name: str
    value_key: str
    labels: tuple[str, ...]
    threshold: float | None = None
    skip: bool = False
    rules: tuple[LabelRule, ...] = ()
    slot: Slot = CHAMPION
    several: bool = False
    point_threshold: float = 0.5

    @property
    def result_type(self) -> str:
        """The `type` of its results, which is also the key of the labels in a result's value."""
        return self.kind.lower()

    @property
    def trains(self) -> bool:
        """Whether what a person draws with it is what the wheel trains its champion on."""
        return self.kind == RECTANGLES and not self.slot.name

    def spelling(self, label: str) -> str | None:
        """The tag's own spelling of a label: the exact one first, else the first that differs in case only; None if there is none."""
        if label in self.labels:
            return label
        return next((known for known in self.labels if known.casefold() == label.casefold()), None)

    def shows(self, predicted: str, threshold: float) -> tuple[str, float] | None:
        """The label under which a model's class is shown here, and from which confidence; None: not at all. Case does not matter.

        The label's own threshold goes before the tag's, and that before `threshold`.
        """
        label = None if self.skip else self._stands_for(predicted) or self.spelling(predicted)
        return None if label is None else (label, self.enough(label, threshold))

    def shows_point(self, predicted: str, name: str, number: int) -> tuple[str, float] | None:
        """`shows` for a point of a skeleton, its `name` and `number`, of an object that the model calls `predicted`.

        The confidence is the point's own: the label's threshold, else `point_threshold`. A label stands for the point with its `model_index`,
        else for that of its name, else, where the points have only numbers, for that of its place among the labels. Its `predicted_values` say
        of which objects.
        """
        label = None if self.skip else next((label for label in self.labels if self._is_point(label, name, number)), None)
        if label is None:
            return None
        rule = self.rule(label)
        if rule.predicted and predicted.casefold() not in map(str.casefold, rule.predicted):
            return None
        return label, self.point_threshold if rule.threshold is None else rule.threshold

    def rule(self, label: str) -> LabelRule:
        """What the config says of a label."""
        return next((rule for rule in self.rules if rule.label == label), LabelRule(label))

    def enough(self, label: str, threshold: float) -> float:
        """From which confidence a label is shown: its own threshold, else the tag's, else `threshold`."""
        return next(value for value in (self.rule(label).threshold, self.threshold, threshold) if value is not None)

    def _is_point(self, label: str, name: str, number: int) -> bool:
        index = self.rule(label).index
        if index is not None:
            return index == number
        return self.labels.index(label) == number if name == str(number) else label.casefold() == name.casefold()

    def _stands_for(self, predicted: str) -> str | None:
        return next((rule.label for rule in self.rules if predicted.casefold() in map(str.casefold, rule.predicted)), None)


def shown_tags(tags: Sequence[ControlTag]) -> tuple[ControlTag, ...]:
    """The tags that show predictions; none when every tag is skipped."""
    return tuple(tag for tag in tags if not tag.skip)


def trained_tags(tags: Sequence[ControlTag]) -> tuple[ControlTag, ...]:
    """The tags that the champion is trained on: those of the first image that has any, for our tasks bring one image."""
    found = [tag for tag in tags if tag.trains]
    return tuple(tag for tag in found if tag.value_key == found[0].value_key)


def trained_labels(tags: Sequence[ControlTag]) -> list[str]:
    """The labels that the champion is trained on, in their order."""
    return list(dict.fromkeys(label for tag in trained_tags(tags) for label in tag.labels))


def pushed_tag(tags: Sequence[ControlTag]) -> ControlTag:
    """The tag whose image the tasks that we make have: the first that is trained on, else the first."""
    return next((tag for tag in tags if tag.trains), tags[0])


def parse(xml: str) -> list[ControlTag]:
    """All tags that a model can fill, in their order; other tags are passed over, and so are such as answer no question about an image.

    Raises InputError when the XML is broken, hostile or too long, when no such tag is there, when a RectangleLabels tag lacks its name,
    labels or image, or holds another tag, or when an attribute for predictions is none.
    """
    root = _root(xml)
    objects = {element.get("name"): element for element in root.iter() if element.get("name") and not element.get("toName")}
    tags = [_tag(element, objects) for element in root.iter() if element.tag == RECTANGLES or _fillable(element, objects)]
    if not tags:
        kinds = ", ".join(SHOWS)
        raise InputError(f"The label config has no tag that we fill ({kinds}).", f"Add one that points to an Image tag. {EXAMPLE}")
    return tags


def answering_tags(xml: str) -> list[ControlTag]:
    """All tags that a person draws or chooses with on an image, whether or not a model can fill them, in their order.

    For reading what was answered: what `parse` refuses is passed over. Raises InputError for broken XML, and when no such tag is there.
    """
    root = _root(xml)
    objects = {element.get("name"): element for element in root.iter() if element.get("name") and not element.get("toName")}
    found = (element for element in root.iter() if element.tag in (*DRAWS, CHOICES) and not element.get("perRegion"))
    tags = [_bare_tag(element, objects) for element in found if _fault(element, objects) is None]
    if not tags:
        raise InputError(f"The label config has no tag to draw or choose with ({', '.join((*DRAWS, CHOICES))}).", EXAMPLE)
    return tags


def _bare_tag(element: Element, objects: dict[str | None, Element]) -> ControlTag:
    """A tag without what it says of predictions, but for the numbers of key points and the objects that these are of."""
    key = objects[element.get("toName")].get("value", "").removeprefix("$")
    rules = tuple(rule for option in _options(element) if (rule := _bare_rule(option)) != LabelRule(rule.label))
    labels = tuple(dict.fromkeys(map(_label, _options(element))))
    several = element.tag == CHOICES and element.get("choice", "single") == "multiple"
    return ControlTag(element.tag, element.get("name", ""), element.get("toName", ""), key, labels, rules=rules, several=several)


def _bare_rule(element: Element) -> LabelRule:
    names = (name.strip() for name in element.get("predicted_values", "").split(","))
    return LabelRule(_label(element), tuple(name for name in names if name), None, _index(element))


def names_of(xml: str) -> frozenset[str]:
    """The names of all tags of a label config, also of those that no model can fill. Raises InputError for what is no XML that we read."""
    return frozenset(name for element in _root(xml).iter() if (name := element.get("name")))


def _root(xml: str) -> Element:
    if len(xml) > LONGEST:
        raise InputError(
            f"The label config has {len(xml):,} characters; at most {LONGEST:,} are read.", f"Leave out what nobody labels. {EXAMPLE}"
        )
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        cure = f"Correct the markup; document types and entities are refused. {EXAMPLE}"
        raise InputError(f"The label config is not XML that we read: {error!r}.", cure) from error
    return root


def _fillable(element: Element, objects: dict[str | None, Element]) -> bool:
    """Choices about a text, about a region or without choices, and shapes on a video are not for us."""
    return element.tag in SHOWS and not element.get("perRegion") and _fault(element, objects) is None


def _fault(element: Element, objects: dict[str | None, Element]) -> tuple[str, str] | None:
    """What keeps a tag from being filled, and what to do."""
    if any(element.find(f".//{kind}") is not None for kind in SHOWS):  # each would hold the labels of all below it
        return "holds another one", "Put them beside each other."
    labels = [_label(label) for label in _options(element)]
    if not element.get("name") or not labels or not all(labels):
        return "lacks its name or the value of a label", "Give it a name and write its labels out."
    image = objects.get(element.get("toName", ""))
    if image is None or image.tag != "Image" or not image.get("value", "").startswith("$"):
        return f"points to {element.get('toName', '')!r}, which is no Image with a value", "Let toName name the Image tag."
    return None


def _tag(element: Element, objects: dict[str | None, Element]) -> ControlTag:
    fault = _fault(element, objects)
    if fault:
        raise InputError(f"The {element.tag} tag {element.get('name', '')!r} {fault[0]}.", f"{fault[1]} {EXAMPLE}")
    options = _options(element)
    return ControlTag(
        element.tag,
        element.get("name", ""),
        element.get("toName", ""),
        objects[element.get("toName")].get("value", "").removeprefix("$"),
        tuple(dict.fromkeys(map(_label, options))),
        _threshold(element),
        element.get("model_skip", "").strip().lower() in ("true", "1", "yes"),
        tuple(rule for option in options if (rule := _rule(option)) != LabelRule(rule.label)),
        _slot(element),
        element.tag == CHOICES and element.get("choice", "single") == "multiple",
        _point_threshold(element),
    )


def _options(element: Element) -> list[Element]:
    return list(element.iter("Choice" if element.tag == CHOICES else "Label"))


def _rule(element: Element) -> LabelRule:
    names = (name.strip() for name in element.get("predicted_values", "").split(","))
    return LabelRule(_label(element), tuple(name for name in names if name), _threshold(element), _index(element))


def _label(element: Element) -> str:
    # Label Studio writes the alias into results when a label has one.
    return element.get("alias") or element.get("value") or ""


def _slot(element: Element) -> Slot:
    text = element.get("model", "").strip()
    found = re.fullmatch(r"([\w-]{1,64})(?:@([\w-]{1,20}))?", text, re.ASCII)
    if text and not found:
        raise InputError(
            f"The {element.tag} tag {element.get('name')!r} has the model name {text!r}.",
            'Name a model of the registry, and its alias if it is not the champion: model="grade" or model="grade@candidate".',
        )
    return Slot(found[1], found[2] or CHAMPION.alias) if found else CHAMPION


def _index(element: Element) -> int | None:
    text = element.get("model_index", "").strip()
    if text and not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise InputError(f"The label {_label(element)!r} has the model index {text!r}.", 'Number the points from 0: model_index="3".')
    return int(text) if text else None


def _point_threshold(element: Element) -> float:
    found = _threshold(element, "model_point_threshold")
    return ControlTag.point_threshold if found is None else found


def _threshold(element: Element, *names: str) -> float | None:
    text = next(filter(None, map(element.get, names or ("model_score_threshold", "score_threshold"))), None)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        where = element.get("name") or element.get("value") or ""
        raise InputError(
            f"The {element.tag} tag {where!r} has the score threshold {text!r}.",
            'Give it a number from 0 to 1: model_score_threshold="0.4".',
        )
    return value
