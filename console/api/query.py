"""Query parameters and bodies, checked by a model: what is unknown or impossible is refused with 422, never ignored."""

from __future__ import annotations

from typing import Annotated, TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from labelwheel.errors import InputError
from labelwheel.wording import faults

BODY_BYTES = 2**20  # a thousand boxes take a tenth of it
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"  # PostgreSQL stores no NUL, and no page shows a control character

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE, strip_whitespace=True)]
Note = Annotated[str, StringConstraints(max_length=500, pattern=PRINTABLE, strip_whitespace=True)]


class Query(BaseModel):
    """Base of all queries. Values arrive as text and are converted."""

    model_config = ConfigDict(extra="forbid")


class Body(BaseModel):
    """Base of all bodies, which are JSON objects. Nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BodyError(InputError):
    """A body has a field that is unknown, missing or impossible."""

    code = "bad_body"
    status = 422


Kind = TypeVar("Kind", bound=Query)
Sent = TypeVar("Sent", bound=Body)


def read(kind: type[Kind]) -> Kind:
    """The request's query as a `kind`. pydantic's ValidationError becomes the 422."""
    return kind.model_validate(request.args.to_dict())


def read_body_if_any(kind: type[Sent]) -> Sent:
    """The same, of a request that may come without a body."""
    has_none = not request.content_length and "Transfer-Encoding" not in request.headers
    return kind() if has_none else read_body(kind)


def read_body(kind: type[Sent]) -> Sent:
    """The request's JSON as a `kind`. Raises BodyError, and InputError for what is no JSON."""
    request.max_content_length = BODY_BYTES
    try:
        return kind.model_validate(request.get_json())
    except ValidationError as error:
        found = faults(error, lambda place: ".".join(map(str, place)) or "the body")
        raise BodyError(f"The body does not fit: {found}.", "Correct the named fields; `GET /api/openapi.json` describes them.") from error
    except RecursionError as error:
        raise InputError("The body is nested too deeply.", "Send a JSON object.") from error
