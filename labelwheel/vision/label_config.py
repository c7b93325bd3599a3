"""Read a Label Studio label config: which tags draw boxes, on which image, with which labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from labelwheel.errors import InputError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KINDS = ("RectangleLabels",)
EXAMPLE = (
    'For example <View><Image name="image" value="$image"/>'
    '<RectangleLabels name="label" toName="image"><Label value="car"/></RectangleLabels></View>.'
)


@dataclass(frozen=True)
class ControlTag:
    """A tag that a person draws with. `name` is a result's from_name; `value_key` is where a task's data holds the image."""

    kind: str
    name: str
    to_name: str
    value_key: str
    labels: tuple[str, ...]

    @property
    def result_type(self) -> str:
        """The `type` of its results, which is also the key of the labels in a result's value."""
        return self.kind.lower()

    def spelling(self, label: str) -> str | None:
        """The tag's own spelling of a label: the exact one first, else the first that differs in case only; None if there is none."""
        if label in self.labels:
            return label
        return next((known for known in self.labels if known.casefold() == label.casefold()), None)


def parse(xml: str) -> list[ControlTag]:
    """All RectangleLabels tags, in their order; other tags are passed over.

    Raises InputError when the XML is broken or hostile, when no such tag is there, or when a tag lacks its name, labels or image.
    """
    root = _root(xml)
    objects = {element.get("name"): element for element in root.iter() if element.get("name") and not element.get("toName")}
    tags = [_tag(element, objects) for element in root.iter() if element.tag in KINDS]
    if not tags:
        raise InputError("The label config has no RectangleLabels tag.", f"Add one that points to an Image tag. {EXAMPLE}")
    return tags


def _root(xml: str) -> Element:
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        cure = f"Correct the markup; document types and entities are refused. {EXAMPLE}"
        raise InputError(f"The label config is not XML that we read: {error!r}.", cure) from error
    return root


def _tag(element: Element, objects: dict[str | None, Element]) -> ControlTag:
    name, to_name = element.get("name", ""), element.get("toName", "")
    # Label Studio writes the alias into results when a label has one.
    labels = tuple(dict.fromkeys(label.get("alias") or label.get("value") or "" for label in element.iter("Label")))
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
    return ControlTag(element.tag, name, to_name, value.removeprefix("$"), labels)
