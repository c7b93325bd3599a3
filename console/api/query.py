"""Query parameters, checked by a model: an unknown or impossible one is refused with 422, never ignored."""

from __future__ import annotations

from typing import TypeVar

from flask import request
from pydantic import BaseModel, ConfigDict


class Query(BaseModel):
    """Base of all queries. Values arrive as text and are converted."""

    model_config = ConfigDict(extra="forbid")


Kind = TypeVar("Kind", bound=Query)


def read(kind: type[Kind]) -> Kind:
    """The request's query as a `kind`. pydantic's ValidationError becomes the 422."""
    return kind.model_validate(request.args.to_dict())
