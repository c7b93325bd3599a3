"""What pydantic found wrong, in our words: pydantic's own speak of types and patterns, to whoever wrote the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

Context = Mapping[str, Any]

WORDS: dict[str, Callable[[Context], str]] = {
    "missing": lambda _: "is missing",
    "extra_forbidden": lambda _: "is not known",
    "greater_than": lambda told: f"must be more than {told['gt']}",
    "greater_than_equal": lambda told: f"must be {told['ge']} or more",
    "less_than": lambda told: f"must be less than {told['lt']}",
    "less_than_equal": lambda told: f"must be {told['le']} or less",
    "multiple_of": lambda told: f"must be a multiple of {told['multiple_of']}",
    "finite_number": lambda _: "must be a finite number",
    "literal_error": lambda told: f"must be {told['expected']}",
    "enum": lambda told: f"must be {told['expected']}",
    "string_too_short": lambda told: f"must have {told['min_length']} characters or more",
    "string_too_long": lambda told: f"must have {told['max_length']} characters or less",
    "too_short": lambda told: f"must have {told['min_length']} entries or more",
    "too_long": lambda told: f"must have {told['max_length']} entries or less",
    "string_pattern_mismatch": lambda _: "does not have the form that is asked for",
    "value_error": lambda told: str(told["error"]),
    "json_invalid": lambda _: "must be JSON",
}
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "mapping": "an object",
    "model": "an object",
    "dataclass": "an object",
    "datetime": "a date and time, such as 2026-11-27T08:00:00Z",
    "date": "a date, such as 2026-11-27",
    "timezone": "a date and time with its zone, such as 2026-11-27T08:00:00Z",
    "time": "a time",
    "url": "an address",
    "path": "a path",
    "none": "null",
}
LONGEST = 60


def faults(error: ValidationError, name: Callable[[tuple[int | str, ...]], str], *, most: int = 5, shown: bool = True) -> str:
    """Each fault as "<name> <what it must be>", separated by semicolons; `name` makes a name of where it lies.

    `shown`: whether the values that were given may be repeated.
    """
    return "; ".join(_fault(item, name(item["loc"]), shown) for item in error.errors(include_url=False)[:most])


def _fault(item: Any, name: str, shown: bool) -> str:
    if item["type"] == "value_error":
        return f"{name}: {_words(item)}" if name else _words(item)
    plain = shown and item["type"] not in ("missing", "extra_forbidden")
    return f"{name} {_words(item)}{_not(item['input']) if plain else ''}".strip()


def _words(item: Any) -> str:
    kind, context = str(item["type"]), item.get("ctx") or {}
    if kind in WORDS:
        return WORDS[kind](context)
    wanted = KINDS.get(kind.partition("_")[0])
    return f"must be {wanted}" if wanted else "cannot be used"


def _not(value: object) -> str:
    """The value that was given, if it is short and plain."""
    short = isinstance(value, str | int | float | bool) and len(str(value)) <= LONGEST and str(value).isprintable()
    return f", not {value!r}" if short else ""
