"""The error tree: one shape, stable codes, and the drawing in the docstring is true."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from labelwheel import errors
from labelwheel.errors import LabelwheelError


def tree(root: type[LabelwheelError] = LabelwheelError) -> Iterator[type[LabelwheelError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_error_has_the_one_shape(kind: type[LabelwheelError]) -> None:
    error = kind("What happened.", "What to do.")
    assert error.as_dict() == {"error": {"code": kind.code, "message": "What happened.", "cure": "What to do."}}
    assert json.loads(json.dumps(error.as_dict())) == error.as_dict()
    assert str(error) == "What happened. What to do."
    assert 400 <= kind.status < 600


def test_codes_tell_errors_apart() -> None:
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn = {line.split("─ ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "─ " in line}
    assert drawn == {kind.__name__ for kind in tree()} - {"LabelwheelError"}


def test_an_error_without_a_cure_ends_with_its_message() -> None:
    assert str(LabelwheelError("What happened.")) == "What happened."
