"""Read a Label Studio label config: which tags draw boxes, on which image, with which labels, and what of a model each shows.

What a model is shown by are attributes that Label Studio keeps and does not mind, spelt as its own YOLO example has them:
`model_skip` and `model_score_threshold` on a tag, `predicted_values` and `model_score_threshold` on a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from labelwheel.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KINDS = ("RectangleLabels",)
LONGEST = 2**20  # characters; ten thousand labels take less
EXAMPLE = (
    'For example <View><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image"><Label value="car"/></RectangleLabels></View>.'
)


@dataclass(frozen=True)
class LabelRule:
    """What a label says of predictions: the names of a model's classes that it stands for beside its own, and from which confidence."""

    label: str
    predicted: tuple[str, ...] = ()
    threshold: float | None = None


@dataclass(frozen=True)
class ControlTag:
    """A tag that a person draws with. `name` is a result's from_name; `value_key` is where a task's data holds the image.

    `threshold` is the confidence from which it shows predictions (None: as set for all), `skip`: it shows none.
    """

    kind: str
    name: str
    to_name: str
    value_key: str
    labels: tuple[str, ...]
    threshold: float | None = None
    skip: bool = False
    rules: tuple[LabelRule, ...] = ()

    @property
    def result_type(self) -> str:
        """The `type` of its results, which is also the key of the labels in a result's value."""
        return self.kind.lower()

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
        if label is None:
            return None
        rule = next((rule for rule in self.rules if rule.label == label), LabelRule(label))
        wanted = (rule.threshold, self.threshold, threshold)
        return label, next(value for value in wanted if value is not None)

    def _stands_for(self, predicted: str) -> str | None:
        return next((rule.label for rule in self.rules if predicted.casefold() in map(str.casefold, rule.predicted)), None)


def shown_tags(tags: Sequence[ControlTag]) -> tuple[ControlTag, ...]:
    """The tags that show predictions, all on the image of the first of them; none when every tag is skipped."""
    shown = [tag for tag in tags if not tag.skip]
    return tuple(tag for tag in shown if tag.value_key == shown[0].value_key)


def parse(xml: str) -> list[ControlTag]:
    """All RectangleLabels tags, in their order; other tags are passed over.

    Raises InputError when the XML is broken, hostile or too long, when no such tag is there, when a tag lacks its name, labels or image,
    or stands within another.
    """
    root = _root(xml)
    objects = {element.get("name"): element for element in root.iter() if element.get("name") and not element.get("toName")}
    tags = [_tag(element, objects) for element in root.iter() if element.tag in KINDS]
    if not tags:
        raise InputError("The label config has no RectangleLabels tag.", f"Add one that points to an Image tag. {EXAMPLE}")
    return tags


def _root(xml: str) -> Element:
    if len(xml) > LONGEST:
        raise InputError(f"The label config has {len(xml):,} characters; at most {LONGEST:,} are read.", f"Leave out what nobody labels. {EXAMPLE}")
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        cure = f"Correct the markup; document types and entities are refused. {EXAMPLE}"
        raise InputError(f"The label config is not XML that we read: {error!r}.", cure) from error
    return root


def _tag(element: Element, objects: dict[str | None, Element]) -> ControlTag:
    name, to_name = element.get("name", ""), element.get("toName", "")
    if any(element.find(f".//{kind}") is not None for kind in KINDS):  # each would hold the labels of all below it
        raise InputError(f"The {element.tag} tag {name!r} holds another one.", f"Put them beside each other. {EXAMPLE}")
    labels = tuple(dict.fromkeys(map(_label, element.iter("Label"))))
    if not name or not labels or not all(labels):
        raise InputError(
            f"The {element.tag} tag {name!r} lacks its name or the value of a label.", f"Give it a name and write its labels out. {EXAMPLE}"
        )
    image = objects.get(to_name)
    value = image.get("value", "") if image is not None else ""
    if image is None or image.tag != "Image" or not value.startswith("$"):
        raise InputError(
            f"The {element.tag} tag {name!r} points to {to_name!r}, which is no Image with a value.",
            f"Let toName name the Image tag. {EXAMPLE}",
        )
    rules = tuple(rule for label in element.iter("Label") if (rule := _rule(label)) != LabelRule(rule.label))
    skip = element.get("model_skip", "").strip().lower() in ("true", "1", "yes")
    return ControlTag(element.tag, name, to_name, value.removeprefix("$"), labels, _threshold(element), skip, rules)


def _rule(element: Element) -> LabelRule:
    names = (name.strip() for name in element.get("predicted_values", "").split(","))
    return LabelRule(_label(element), tuple(name for name in names if name), _threshold(element))


def _label(element: Element) -> str:
    # Label Studio writes the alias into results when a label has one.
    return element.get("alias") or element.get("value") or ""


def _threshold(element: Element) -> float | None:
    text = element.get("model_score_threshold") or element.get("score_threshold")
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
